"""What a container changed, from its overlay's upper folder and the layers below: `docker diff`.

The rules are dockerd's, which compares whole trees (moby, pkg/archive/changes.go); only the upper folder can hold a
difference, so only that is walked. It may change meanwhile: its folders are opened inside it and never outside. Layers
don't change.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

from guest_agent.linux.paths import open_in_root

_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_CAPABILITY = "security.capability"

#: What dockerd puts below every container, and so never shows; here the runtime makes it in the upper folder.
MOUNT_POINTS = frozenset(
    "/.dockerenv /dev /dev/console /dev/mqueue /dev/pts /dev/shm /etc /etc/hostname /etc/hosts /etc/mtab"
    " /etc/resolv.conf /proc /sys".split()
)


class Kind(IntEnum):
    """docker's numbers."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


class Change(NamedTuple):
    path: str
    kind: Kind


class _Folder(NamedTuple):
    """One to be walked: its path inside, and the layers' folders that lie merged below it, uppermost first."""

    path: str
    lower: list[str]


class _Old(NamedTuple):
    """What was at a place before."""

    status: os.stat_result
    place: str
    folders: list[str]


def find_changes(upper: str, layers: Sequence[str]) -> list[Change]:
    """Sorted, a folder before what is in it; `layers` uppermost first. A folder in which something changed is there."""
    comparison = _Comparison(upper)
    comparison.walk(list(layers))
    found = comparison.found
    return [Change(path, found[path]) for path in sorted(found, key=lambda path: path.split("/"))]


class _Comparison:
    def __init__(self, upper: str) -> None:
        self._upper = upper
        self._pending: list[_Folder] = []
        self.found: dict[str, Kind] = {}

    def walk(self, layers: list[str]) -> None:
        self._pending.append(_Folder("", layers))
        while self._pending:
            self._compare_folder(self._pending.pop())

    def _compare_folder(self, folder: _Folder) -> None:
        try:
            descriptor = open_in_root(self._upper, folder.path or "/", os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return  # it has vanished meanwhile
        try:
            names = os.listdir(descriptor)
            for name in names:
                self._compare_entry(folder, name, descriptor)
            if folder.lower and _is_opaque(descriptor):
                for name in _names_in(folder.lower) - set(names):
                    self._note(f"{folder.path}/{name}", Kind.DELETED)
        finally:
            os.close(descriptor)

    def _compare_entry(self, folder: _Folder, name: str, descriptor: int) -> None:
        path = f"{folder.path}/{name}"
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return
        old = _find_old(folder.lower, name)
        if _is_whiteout(status):
            if old is not None:
                self._note(path, Kind.DELETED)
            return
        if old is None:
            if not _is_mount_point(path, status):
                self._note(path, Kind.ADDED)
        elif _differ(old.status, status) or self._capabilities_differ(old, path, status):
            self._note(path, Kind.MODIFIED)
        if stat.S_ISDIR(status.st_mode):
            self._pending.append(_Folder(path, old.folders if old else []))

    def _note(self, path: str, kind: Kind) -> None:
        self.found[path] = kind
        while (path := path.rpartition("/")[0]) and path not in self.found:
            self.found[path] = Kind.MODIFIED

    def _capabilities_differ(self, old: _Old, path: str, status: os.stat_result) -> bool:
        if not stat.S_ISREG(status.st_mode):
            return False
        return _capability(old.place) != _capability(f"{self._upper}{path}")


def _find_old(lower: Sequence[str], name: str) -> _Old | None:
    """The entry as the merged layers show it."""
    top: os.stat_result | None = None
    folders: list[str] = []
    for folder in lower:
        place = f"{folder}/{name}"
        try:
            status = os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if top is None:
            if _is_whiteout(status):
                return None
            top, top_place = status, place
        if not stat.S_ISDIR(status.st_mode):
            break
        folders.append(place)
        if _is_opaque(place):
            break
    return None if top is None else _Old(top, top_place, folders)


def _names_in(lower: Sequence[str]) -> set[str]:
    names = {name for folder in lower for name in os.listdir(folder)}
    return {name for name in names if _find_old(lower, name) is not None}


def _differ(old: os.stat_result, new: os.stat_result) -> bool:
    """A folder's time and size say nothing: they follow from what is in it (moby issue 9874)."""
    if (old.st_mode, old.st_uid, old.st_gid, old.st_rdev) != (new.st_mode, new.st_uid, new.st_gid, new.st_rdev):
        return True
    if stat.S_ISDIR(new.st_mode):
        return False
    return old.st_size != new.st_size or not _same_time(old.st_mtime_ns, new.st_mtime_ns)


def _same_time(one: int, other: int) -> bool:
    """A time without a fraction may have been cut off."""
    (seconds, fraction), (other_seconds, other_fraction) = divmod(one, 10**9), divmod(other, 10**9)
    return seconds == other_seconds and (fraction == other_fraction or not fraction or not other_fraction)


def _is_mount_point(path: str, status: os.stat_result) -> bool:
    return path in MOUNT_POINTS and (not stat.S_ISREG(status.st_mode) or not status.st_size)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(folder: str | int) -> bool:
    return any(value == b"y" for value in _xattrs(folder, _OPAQUE))


def _capability(path: str) -> bytes:
    return next(_xattrs(path, (_CAPABILITY,)), b"")


def _xattrs(place: str | int, names: Sequence[str]) -> Iterator[bytes]:
    for name in names:
        try:
            if isinstance(place, int):
                yield os.getxattr(place, name)
            else:
                yield os.getxattr(place, name, follow_symlinks=False)
        except OSError:
            continue
