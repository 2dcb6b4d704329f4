"""`build --squash`: the layers of a build as one, on top of the image that it began with."""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
from collections.abc import Iterator
from dataclasses import replace

from guest_agent.build.copying import Attributes, copy_selection
from guest_agent.build.selecting import Item, Selection
from guest_agent.build.snapshots import Snapshot
from guest_agent.build.trees import FolderTree
from guest_agent.engine.build_roots import build_root, keep_changes
from guest_agent.engine.build_session import BuildSession
from guest_agent.store.threads import finish_in_thread
from guest_agent.wire.models import DiffId, HistoryEntry

_OPAQUE = "trusted.overlay.opaque"


async def squash(session: BuildSession, snapshot: Snapshot) -> Snapshot:
    """The same files in one layer; the history says of each step that it has none."""
    base, new = snapshot.diff_ids[: snapshot.base_layers], snapshot.diff_ids[snapshot.base_layers :]
    if len(new) < 2:
        return snapshot
    async with build_root(session.parts, base) as root:
        for diff_id in new:
            await finish_in_thread(apply_layer, session.parts.layers.path(diff_id), root.path)
        merged = await keep_changes(session.parts, root, session.staging)
    steps = (replace(entry, empty_layer=True) for entry in snapshot.history[_base_steps(snapshot) :])
    comment = f"merge {snapshot.key} to {snapshot.parent or 'scratch'}"
    last = HistoryEntry(snapshot.created, "", comment, empty_layer=not merged)
    layers = (*base, DiffId(merged)) if merged else base
    return replace(snapshot, diff_ids=layers, history=(*snapshot.history[: _base_steps(snapshot)], *steps, last))


def _base_steps(snapshot: Snapshot) -> int:
    """How many entries of the history belong to the base: those up to its last layer."""
    layers = 0
    for place, entry in enumerate(snapshot.history):
        if not entry.empty_layer:
            if layers == snapshot.base_layers:
                return place
            layers += 1
    return len(snapshot.history)


def apply_layer(layer: str, root: str) -> None:
    """What a layer removes is removed, then what it has is copied. Nobody else touches either.

    A link of the root may lead anywhere, also out of it, so none is followed: the walk comes to a folder before what is
    in it, and then there is a folder, or nothing, at its place.
    """
    items = []
    for item in _walk(FolderTree(layer)):
        place = posixpath.join(root, item.path)
        if stat.S_ISCHR(item.entry.mode) and item.entry.device == 0:
            _remove(place)
            continue
        if item.entry.is_folder != _is_folder(place):
            _remove(place)
        elif item.entry.is_folder and _is_opaque(posixpath.join(layer, item.path)):
            for name in os.listdir(place):
                _remove(posixpath.join(place, name))
        items.append(item)
    copy_selection(FolderTree(layer), Selection(tuple(items), into_folder=True), root, "/", Attributes())


def _walk(tree: FolderTree) -> Iterator[Item]:
    pending = [""]
    while pending:
        folder = pending.pop()
        for name in tree.names(folder):
            path = posixpath.join(folder, name)
            entry = tree.find(path)
            assert entry is not None
            yield Item(path, entry, path)
            if entry.is_folder:
                pending.append(path)


def _is_opaque(place: str) -> bool:
    try:
        return os.getxattr(place, _OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def _is_folder(place: str) -> bool:
    """The place itself: a link to a folder is none."""
    return os.path.isdir(place) and not os.path.islink(place)


def _remove(place: str) -> None:
    if _is_folder(place):
        shutil.rmtree(place)
    elif os.path.lexists(place):
        os.unlink(place)
