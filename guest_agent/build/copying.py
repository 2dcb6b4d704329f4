"""Selected files -> the tree of a mounted root. What is on the way there is resolved by the kernel inside of the root.

Blocks; to be called from a thread. Nobody else writes to the root meanwhile.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from guest_agent.build.modes import ModeChange
from guest_agent.build.selecting import Item, Selection
from guest_agent.build.trees import Entry, Tree
from guest_agent.linux.paths import open_in_root
from guest_agent.wire.errors import HostFailed, HostvmError, InvalidArgument

_FOLDER = os.O_PATH | os.O_DIRECTORY
_MISSING = (errno.ENOENT, errno.ENOTDIR)
#: Links that lead nowhere, in all of one copy.
_MOST_LINKS = 40
#: Open folders that are kept for the next file.
_KEPT_FOLDERS = 64


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is forced on everything that is copied; None leaves it as it is in the tree."""

    owner: tuple[int, int] | None = None
    mode: ModeChange | None = None  #: of files and folders
    #: --link: as if the root were empty, so that no link in it is followed; folders are there in a link's place.
    linked: bool = False
    #: An archive's files have their own in any case: only folders on the way to them are the owner's.
    of_archive: bool = False


def copy_selection(
    tree: Tree,
    selection: Selection,
    root: str,
    target: str,
    attributes: Attributes,
    unwanted: Callable[[], bool] = lambda: False,
) -> None:
    """`target` is absolute inside; a slash at its end, or a folder there, makes it the folder of the copies.

    Ends before its time once it is `unwanted`, which is asked for each file: there may be a million of them.
    Raises InvalidArgument where the root is in the way, HostFailed (disk full).
    """
    writer = _Writer(tree, root, attributes)
    try:
        into_folder = selection.into_folder or target.endswith("/") or writer.is_folder(target)
        for item in selection.items:
            if unwanted():
                return
            writer.put(item, posixpath.join(target, item.target) if into_folder else target)
        writer.finish()
    except OSError as error:
        raise _translated(error, writer.where) from error
    finally:
        writer.close()


def make_folder(root: str, path: str, owner: tuple[int, int] | None) -> None:
    """WORKDIR: a folder for `owner` (root if None), with those above it that are missing."""
    writer = _Writer(None, root, Attributes(owner))
    try:
        writer.folder(path)
    except OSError as error:
        raise _translated(error, path) from error
    finally:
        writer.close()


def check_folders(root: str, paths: Iterable[str]) -> None:
    """VOLUME: what is there MUST be a folder, or InvalidArgument; it may be missing."""
    for path in paths:
        try:
            place = open_in_root(root, posixpath.join("/", path), os.O_PATH)
        except OSError as error:
            if error.errno in _MISSING:
                continue
            raise _translated(error, path) from error
        is_folder = stat.S_ISDIR(os.fstat(place).st_mode)
        os.close(place)
        if not is_folder:
            raise InvalidArgument(f"cannot mount volume over existing file, file exists {path}")


def _translated(error: OSError, where: str) -> HostvmError:
    reason = (error.strerror or str(error)).lower()
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.ENOTEMPTY):
        return InvalidArgument(f"{where}: {reason}")
    hint = "free some space, or give hostvm a bigger disk (HOSTVM_DATA)" if error.errno == errno.ENOSPC else ""
    return HostFailed(f"{where}: {reason}", hint)


class _Writer:
    def __init__(self, tree: Tree | None, root: str, attributes: Attributes) -> None:
        self._tree = tree
        self._root = root
        self._attributes = attributes
        self._folders: dict[str, int] = {}
        self._times: dict[str, int] = {}
        self._links = 0
        self.where = "/"

    def is_folder(self, path: str) -> bool:
        self._make_way(path)
        try:
            os.close(open_in_root(self._root, path, _FOLDER))
        except OSError as error:
            if error.errno in _MISSING:
                return False
            raise
        return True

    def folder(self, path: str) -> int:
        """A descriptor of the folder, which is made where it is missing."""
        path = posixpath.normpath("/" + path.strip("/"))
        known = self._folders.get(path)
        if known is None:
            if len(self._folders) >= _KEPT_FOLDERS:
                self.close()
            known = self._folders[path] = self._open_or_make(path)
        return known

    def put(self, item: Item, path: str) -> None:
        self.where = path
        if item.entry.is_folder:
            self._put_folder(item, path)
            return
        parent, name = posixpath.split(path.rstrip("/") or "/")
        if not name:
            raise InvalidArgument(f"cannot copy to directory: {path}")
        with self._beside(parent, name) as folder:
            self._make(item, folder, name)

    def finish(self) -> None:
        """Folders get their times, innermost first."""
        for path, mtime_ns in reversed(self._times.items()):
            os.utime(f"/proc/self/fd/{self.folder(path)}", ns=(mtime_ns, mtime_ns))

    def close(self) -> None:
        for descriptor in self._folders.values():
            os.close(descriptor)
        self._folders.clear()

    def _make_way(self, path: str) -> None:
        """Takes the first link on the way to a path away, where it mustn't be followed: behind it nothing is left."""
        if not self._attributes.linked:
            return
        place = os.open(self._root, _FOLDER)
        try:
            for name in [part for part in posixpath.normpath(path).split("/") if part]:
                if stat.S_ISLNK(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode):
                    os.unlink(name, dir_fd=place)
                inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=place)
                os.close(place)
                place = inner
        except OSError as error:
            if error.errno not in _MISSING:
                raise
        finally:
            os.close(place)

    def _open_or_make(self, path: str) -> int:
        self._make_way(path)
        try:
            return open_in_root(self._root, path, _FOLDER)
        except FileNotFoundError:
            parent, name = posixpath.split(path)
            try:
                os.mkdir(name, 0o755, dir_fd=self.folder(parent))
            except FileExistsError:  # a link that leads nowhere: what it means is made
                return self._make_behind_link(parent, name)
            self._own(name, self.folder(parent), self._attributes.owner or (0, 0))
            return open_in_root(self._root, path, _FOLDER)

    def _make_behind_link(self, parent: str, name: str) -> int:
        target = posixpath.join(parent, os.readlink(name, dir_fd=self.folder(parent)))
        self._links += 1
        if self._links > _MOST_LINKS:
            raise InvalidArgument(f"{posixpath.join(parent, name)}: too many levels of symbolic links")
        return os.dup(self.folder(target))

    def _put_folder(self, item: Item, path: str) -> None:
        """The destination itself is what it is, or is made like any other: of its source it has the content alone."""
        descriptor = self.folder(path)
        if item.top:
            return
        entry, place = item.entry, f"/proc/self/fd/{descriptor}"
        os.chown(place, *self._owner_of(entry))
        os.chmod(place, self._mode_of(entry))
        _set_xattrs(place, entry)
        self._times[posixpath.normpath("/" + path.strip("/"))] = entry.mtime_ns

    @contextmanager
    def _beside(self, parent: str, name: str) -> Iterator[int]:
        """The parent's descriptor, with nothing called `name` in it."""
        folder = self.folder(parent)
        try:
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError) as error:
            raise InvalidArgument(f"cannot copy to directory: {posixpath.join(parent, name)}") from error
        yield folder

    def _make(self, item: Item, folder: int, name: str) -> None:
        entry = item.entry
        if entry.is_file:
            self._make_file(item, folder, name)
            return
        if entry.is_link:
            os.symlink(entry.link, name, dir_fd=folder)
        else:
            os.mknod(name, entry.mode, entry.device, dir_fd=folder)
        self._own(name, folder, self._owner_of(entry))
        if not entry.is_link:
            os.chmod(name, self._mode_of(entry), dir_fd=folder)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=folder, follow_symlinks=False)

    def _make_file(self, item: Item, folder: int, name: str) -> None:
        assert self._tree is not None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=folder)
        try:
            self._tree.copy(item.path, item.entry, descriptor)
            os.fchown(descriptor, *self._owner_of(item.entry))
            os.fchmod(descriptor, self._mode_of(item.entry))  # behind chown, which clears set-uid bits
            _set_xattrs(f"/proc/self/fd/{descriptor}", item.entry)
            os.utime(descriptor, ns=(item.entry.mtime_ns, item.entry.mtime_ns))
        finally:
            os.close(descriptor)

    def _own(self, name: str, folder: int, owner: tuple[int, int]) -> None:
        os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)

    def _owner_of(self, entry: Entry) -> tuple[int, int]:
        if self._attributes.owner is not None and not self._attributes.of_archive:
            return self._attributes.owner
        return (entry.uid, entry.gid) if self._tree is not None and self._tree.owned else (0, 0)

    def _mode_of(self, entry: Entry) -> int:
        mode, change = stat.S_IMODE(entry.mode), self._attributes.mode
        return mode if change is None or self._attributes.of_archive else change.apply(mode, entry.is_folder)


def _set_xattrs(place: str, entry: Entry) -> None:
    for name, value in (entry.xattrs or {}).items():
        try:
            os.setxattr(place, name, value)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM):
                raise
