"""Root file systems of a build's steps: layers below, an upper folder that becomes the next layer by a rename.

They live where a container's do, so that start-up takes away what a killed engine has left of them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

from guest_agent.engine.ending import discard_folder
from guest_agent.engine.failpoints import failpoint
from guest_agent.engine.naming import new_id
from guest_agent.engine.parts import Parts
from guest_agent.engine.starting import remove_remains
from guest_agent.layers.measured import Measured
from guest_agent.layers.store import Staging
from guest_agent.linux.mounts import mount_overlay, umount_if_mounted
from guest_agent.store.threads import finish_in_thread, open_in_thread
from guest_agent.wire.models import ContainerId, DiffId

#: Mount points that every container needs. They are made below the image, so that they are in no layer.
_STUB_FOLDERS = ("dev", "proc", "sys", "etc")
_STUB_FILES = ("etc/hosts", "etc/hostname", "etc/resolv.conf")


@dataclass(frozen=True, slots=True)
class BuildRoot:
    """A mounted root, and the id under which its folders are found."""

    id: ContainerId
    path: str
    upper: str


@asynccontextmanager
async def build_root(
    parts: Parts, diff_ids: Sequence[DiffId], stubs: Sequence[str] | None = None
) -> AsyncIterator[BuildRoot]:
    """The layers with a fresh upper folder over them, for the time of the block.

    `stubs` are further mount points (a slash at the end: a folder) for a root that a container runs on; None: no
    container does.
    """
    identity = ContainerId(new_id())
    bundle, folder = parts.paths.bundle(identity), parts.paths.container(identity)
    root = BuildRoot(identity, parts.paths.rootfs(identity), parts.paths.upper(identity))
    try:
        failpoint("build.root.before")
        os.makedirs(root.path)
        for place in (root.upper, parts.paths.work(identity)):
            os.makedirs(place, mode=0o755)
        names = parts.layers.names(diff_ids)
        if stubs is not None:
            _make_stubs(f"{folder}/stubs", stubs)
            names = [*names, os.path.relpath(f"{folder}/stubs", parts.paths.layers)]
        _take_attributes(os.path.join(parts.paths.layers, names[0]), root.upper)
        mount_overlay(names, parts.paths.layers, root.upper, parts.paths.work(identity), root.path, volatile=True)
        failpoint("build.root.after")
        yield root
    finally:
        if os.path.isdir(bundle):
            await remove_remains(parts, identity)
        if os.path.isdir(folder):
            discard_folder(parts.paths, parts.tasks, folder)


async def keep_changes(parts: Parts, root: BuildRoot, staging: Staging) -> str:
    """What was written to the root becomes a layer of the staging: its diff id, "" if nothing was.

    The root is unmounted afterwards.
    """
    if not os.listdir(root.upper):
        return ""
    measured = await open_in_thread(partial(parts.layers.measure, root.upper), Measured.abort)
    try:
        umount_if_mounted(root.path)
        failpoint("build.layer.before")
        diff_id = await finish_in_thread(staging.adopt, measured)
        failpoint("build.layer.after")
        return diff_id
    finally:
        await finish_in_thread(measured.abort)


def _make_stubs(folder: str, stubs: Sequence[str]) -> None:
    os.makedirs(folder, mode=0o755)
    for name in (*(f"{one}/" for one in _STUB_FOLDERS), *_STUB_FILES, *stubs):
        place = os.path.normpath(f"{folder}/{os.path.normpath('/' + name)}")
        if name.endswith("/"):
            with suppress(FileExistsError, NotADirectoryError):  # a volume in the place of another mount
                os.makedirs(place, mode=0o755, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
            with open(place, "a"):
                pass


def _take_attributes(layer: str, upper: str) -> None:
    """The root folder is the upper one's: it gets what the layer below says of it."""
    status = os.stat(layer)
    os.chown(upper, status.st_uid, status.st_gid)
    os.chmod(upper, stat.S_IMODE(status.st_mode))
