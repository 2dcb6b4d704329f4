"""A container's file system for a helper process: its root with its volumes and bind mounts, and nothing of the host.

Not the container's own mount namespace: there is /proc, whose links lead out of every root, and what a hostile
container has mounted. As with dockerd, a tmpfs of the container isn't seen.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from guest_agent.layers import child
from guest_agent.linux.detached_mounts import place_tree, take_tree
from guest_agent.linux.mounts import unshare_mount_namespace


class ViewMount(NamedTuple):
    """What is at `target` inside; `source` is a path of the engine's."""

    source: str
    target: str
    read_only: bool


class View(NamedTuple):
    """A mounted root, and what goes on top of it, outer mounts first."""

    root: str
    mounts: tuple[ViewMount, ...] = ()
    read_only: bool = False  #: the root itself

    def to_json(self) -> dict[str, object]:
        return {"root": self.root, "mounts": [list(mount) for mount in self.mounts], "read_only": self.read_only}


def read_view(fields: dict[str, object]) -> View:
    """The inverse of `to_json`."""
    mounts = fields["mounts"]
    assert isinstance(mounts, list)
    return View(str(fields["root"]), tuple(ViewMount(*mount) for mount in mounts), bool(fields["read_only"]))


def enter_view(view: View) -> None:
    """Make it this process' root. Sources are looked up outside, targets inside."""
    unshare_mount_namespace()
    trees = [(take_tree(mount.source, mount.read_only), mount) for mount in view.mounts]
    child.enter(view.root)
    for tree, mount in trees:
        _make_place(mount.target, is_folder=stat.S_ISDIR(os.fstat(tree).st_mode))
        place_tree(tree, mount.target)


def _make_place(target: str, is_folder: bool) -> None:
    """A container that never ran has no mount points yet."""
    if os.path.lexists(target):
        return
    os.makedirs(target if is_folder else os.path.dirname(target), mode=0o755, exist_ok=True)
    if not is_folder:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o755))


def refusal(view: View, folder: str) -> str:
    """Why nothing may be written to `folder` (absolute, resolved), in dockerd's words; "" where it may."""
    mounts = [mount for mount in view.mounts if _is_below(folder, mount.target)]
    if not mounts:
        return "container rootfs is marked read-only" if view.read_only else ""
    innermost = max(mounts, key=lambda mount: len(mount.target))
    return "mounted volume is marked read-only" if innermost.read_only else ""


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
