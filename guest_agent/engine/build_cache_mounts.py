"""RUN --mount=type=cache: which folder a mount means, and what a new one begins with.

As with BuildKit a folder is known by its id and by all that it began with: whoever wants another owner, another mode or
another `from` has another one.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from contextlib import AsyncExitStack

from guest_agent.build.copying import Attributes, copy_selection
from guest_agent.build.instructions import MountKind, RunMount
from guest_agent.build.selecting import digest_selection, resolve, select
from guest_agent.build.trees import Entry, Tree
from guest_agent.engine.build_session import BuildSession
from guest_agent.engine.build_sources import Origins
from guest_agent.store.files import remove_tree
from guest_agent.store.threads import finish_in_thread
from guest_agent.wire.errors import NotFound

#: Ways to share a cache, the most generous first.
_STRICTNESS = ("shared", "private", "locked")
_MODE = 0o755


async def name_caches(origins: Origins, mounts: tuple[RunMount, ...]) -> dict[RunMount, str]:
    """The folder of each cache mount. Raises NotFound, InvalidArgument."""
    caches = [mount for mount in mounts if mount.kind is MountKind.CACHE]
    return {mount: cache_name(mount, await source_content(origins, mount)) for mount in caches}


def cache_name(mount: RunMount, content: str) -> str:
    """`content` stands for the files that it begins with."""
    mode = _MODE if mount.mode is None else mount.mode
    start = (mount.uid, mount.gid, mode, content)
    known = mount.id if start == (0, 0, _MODE, "") else repr((mount.id, start))
    return hashlib.sha256(known.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def strictest(names: Mapping[RunMount, str]) -> dict[str, str]:
    """Each cache of a RUN once, with the strictest sharing of its mounts."""
    wanted: dict[str, str] = {}
    for mount, name in names.items():
        wanted[name] = max(wanted.get(name, mount.sharing), mount.sharing, key=_STRICTNESS.index)
    return wanted


async def source_content(origins: Origins, mount: RunMount) -> str:
    """What a mount's `from` and `source` come to; "" for a cache that begins empty."""
    if mount.kind is MountKind.CACHE and not mount.origin:
        return ""
    layers = await origins.layers(mount.origin) if mount.origin else None
    if layers is not None:
        return hashlib.sha256(repr((layers, mount.source)).encode()).hexdigest()
    tree = await origins.open(mount.origin)
    selection = await finish_in_thread(select, tree, [mount.source or "."])
    return await finish_in_thread(digest_selection, tree, selection)


async def begin_cache(session: BuildSession, origins: Origins, mount: RunMount, folder: str) -> None:
    """Makes it where it isn't there. Another step may be at it, too: the first one that is done wins."""
    if os.path.isdir(folder):
        return
    tree = await origins.open(mount.origin) if mount.origin else None
    beginning = f"{session.parts.paths.temporary}/cache-{os.urandom(8).hex()}"
    async with AsyncExitStack() as undo:
        undo.callback(remove_tree, beginning)
        await finish_in_thread(_fill, mount, tree, beginning)
        if not os.path.isdir(folder):
            os.makedirs(os.path.dirname(folder), exist_ok=True)
            os.rename(beginning, folder)


def _fill(mount: RunMount, tree: Tree | None, folder: str) -> None:
    os.makedirs(folder)
    entry = None
    if tree is not None:
        entry = _find_folder(tree, mount)
        copy_selection(tree, select(tree, [mount.source or "."]), folder, "/", Attributes())
    owner = (entry.uid, entry.gid) if entry is not None and (mount.uid, mount.gid) == (0, 0) else (mount.uid, mount.gid)
    mode = _MODE if entry is None else stat.S_IMODE(entry.mode)
    os.chown(folder, *owner)
    os.chmod(folder, mode if mount.mode is None else mount.mode)


def _find_folder(tree: Tree, mount: RunMount) -> Entry:
    path = resolve(tree, mount.source.strip("/"))
    entry = None if path is None else tree.find(path)
    if entry is None or not entry.is_folder:
        raise NotFound(f'no folder "/{mount.source.strip("/")}" in {mount.origin} for the cache {mount.id}')
    return entry
