"""Trees of files from which COPY and ADD take: a context as it came in a tar, or a folder of a mounted image.

Glossary: a *tree* answers by paths relative to its root ("" is the root), without following links; an *entry* is what
there is at a path. A context is never unpacked: its entries are in memory and the files' content is in one unlinked
file, so that names and links of a hostile tar reach no file system before an instruction copies them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from guest_agent.store.tar import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMBOLIC_LINK,
    TarEntry,
    TarError,
    shown,
)
from guest_agent.store.tar_stream import TarStream
from guest_agent.wire.errors import HostFailed, InvalidArgument

_TYPES = {
    REGULAR: stat.S_IFREG,
    DIRECTORY: stat.S_IFDIR,
    SYMBOLIC_LINK: stat.S_IFLNK,
    CHARACTER_DEVICE: stat.S_IFCHR,
    BLOCK_DEVICE: stat.S_IFBLK,
    FIFO: stat.S_IFIFO,
}
#: Names by which a file could speak to overlayfs itself.
_OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")
#: Some 400 bytes each, and 300 more while one COPY takes them all: what fits into a machine of 2 GiB.
_MOST_ENTRIES = 2_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """`mode` has the type's bits, too. `offset` is where a context's content begins."""

    mode: int
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = 0
    link: str = ""
    device: int = 0
    digest: bytes = b""
    offset: int = 0
    xattrs: Mapping[str, bytes] | None = None

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


class Tree(Protocol):
    def find(self, path: str) -> Entry | None:
        """What is there; links aren't followed, neither on the way nor at the end."""

    def names(self, path: str) -> Sequence[str]:
        """What is in a folder, sorted."""

    def digest(self, path: str, entry: Entry) -> bytes:
        """sha256 of a file's content."""

    def copy(self, path: str, entry: Entry, target: int) -> None:
        """Write a file's content into the descriptor. Raises OSError."""

    @property
    def owned(self) -> bool:
        """Whether owners mean something: a context's are its sender's, and count for nothing."""


class ContextTree:
    """A tar in memory, the content in a descriptor of its own. `close` frees it."""

    def __init__(self, entries: dict[str, Entry], content: int, owned: bool = False) -> None:
        self._entries = entries
        self._content = content
        self._children: dict[str, list[str]] | None = None
        self.owned = owned

    def find(self, path: str) -> Entry | None:
        return self._entries.get(path)

    def names(self, path: str) -> Sequence[str]:
        if self._children is None:
            self._children = {}
            for name in sorted(self._entries):
                if name:
                    folder, _, base = name.rpartition("/")
                    self._children.setdefault(folder, []).append(base)
        return self._children.get(path, ())

    def digest(self, path: str, entry: Entry) -> bytes:
        return entry.digest

    def copy(self, path: str, entry: Entry, target: int) -> None:
        send(self._content, entry.offset, entry.size, target)

    def read(self, path: str, limit: int) -> bytes:
        """A file's content. Raises InvalidArgument where it is longer, or no file."""
        entry = self._entries.get(path)
        if entry is None or not entry.is_file or entry.size > limit:
            raise InvalidArgument(f"{path} is not a file of at most {limit} bytes")
        return os.pread(self._content, entry.size, entry.offset)

    def pieces(self, entry: Entry, size: int) -> Iterator[bytes]:
        """A file's content in pieces of at most `size` bytes."""
        for place in range(0, entry.size, size):
            yield os.pread(self._content, min(size, entry.size - place), entry.offset + place)

    def paths(self) -> Iterator[tuple[str, Entry]]:
        """Everything but the root, a folder before what is in it."""
        return ((path, self._entries[path]) for path in sorted(self._entries) if path)

    def without(self, paths: Sequence[str]) -> ContextTree:
        """The same content, some entries left out; shares the descriptor."""
        kept = {name: entry for name, entry in self._entries.items() if name not in paths}
        return ContextTree(kept, self._content, self.owned)

    def without_entries(self) -> ContextTree:
        """The content alone, for those who share it: a million entries needn't be there twice."""
        return ContextTree({}, self._content, self.owned)

    def below(self, folder: str) -> ContextTree:
        """The part in `folder`, as a tree of its own; shares the descriptor."""
        prefix = f"{folder}/"
        inner = {name[len(prefix) :]: entry for name, entry in self._entries.items() if name.startswith(prefix)}
        return ContextTree({"": Entry(stat.S_IFDIR | 0o755), **inner}, self._content, self.owned)

    def forget(self) -> None:
        """All entries; whoever still holds the tree, an error's frames perhaps, holds no million of them."""
        self._entries, self._children = {}, None

    def close(self) -> None:
        self.forget()
        if self._content >= 0:
            os.close(self._content)
            self._content = -1


def empty_tree() -> ContextTree:
    """A context without anything."""
    return ContextTree({"": Entry(stat.S_IFDIR | 0o755)}, -1)


class FolderTree:
    """A folder on disk that nobody changes meanwhile: a mounted image, its root is `root`."""

    owned = True

    def __init__(self, root: str) -> None:
        self._root = root

    def find(self, path: str) -> Entry | None:
        place = self._place(path)
        try:
            status = os.lstat(place)
            link = os.readlink(place) if stat.S_ISLNK(status.st_mode) else ""
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise
        return Entry(
            mode=status.st_mode,
            uid=status.st_uid,
            gid=status.st_gid,
            mtime_ns=status.st_mtime_ns,
            size=status.st_size if stat.S_ISREG(status.st_mode) else 0,
            link=link,
            device=status.st_rdev,
            xattrs=_read_xattrs(place),
        )

    def names(self, path: str) -> Sequence[str]:
        return sorted(os.listdir(self._place(path)))

    def digest(self, path: str, entry: Entry) -> bytes:
        with open(os.open(self._place(path), os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").digest()

    def copy(self, path: str, entry: Entry, target: int) -> None:
        source = os.open(self._place(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            send(source, 0, entry.size, target)
        finally:
            os.close(source)

    def _place(self, path: str) -> str:
        return f"{self._root}/{path}"


def _read_xattrs(place: str) -> dict[str, bytes] | None:
    try:
        names = os.listxattr(place, follow_symlinks=False)
        kept = [name for name in names if not name.startswith(_OVERLAY_XATTRS)]
        return {name: os.getxattr(place, name, follow_symlinks=False) for name in kept} or None
    except OSError:
        return None


def send(source: int, offset: int, size: int, target: int) -> None:
    """Bytes of one file to the end of another; the source may be shorter."""
    while size and (sent := os.sendfile(target, source, offset, min(size, 1 << 30))):
        offset += sent
        size -= sent


class TreeReader:
    """A tar stream, compressed or not, fed piece by piece -> ContextTree. Blocks; one thread at a time.

    `folder` is where the unlinked file for the content is made. `close` drops it, unless `finish` has handed it over.
    """

    def __init__(self, folder: str, owned: bool = False) -> None:
        self._content = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._owned = owned
        self._stream = TarStream()
        self._entries: dict[str, Entry] = {"": Entry(stat.S_IFDIR | 0o755)}
        self._file: tuple[str, TarEntry] | None = None
        self._hash = hashlib.sha256()
        self._position = self._begin = 0

    def feed(self, data: bytes) -> None:
        """Raises InvalidArgument (not a tar), HostFailed (disk full)."""
        try:
            for event in self._stream.feed(data):
                self._take(event)
        except TarError as error:
            raise InvalidArgument(f"Error processing tar file: {error}") from error

    def finish(self) -> ContextTree:
        """The stream has ended; an empty one is an empty tree."""
        try:
            self._stream.finish()
            self._end_file()
        except TarError as error:
            raise InvalidArgument(f"Error processing tar file: {error}") from error
        content, self._content = self._content, -1
        return ContextTree(self._entries, content, self._owned)

    def close(self) -> None:
        self._entries = {}
        if self._content >= 0:
            os.close(self._content)
            self._content = -1

    def _take(self, event: TarEntry | memoryview) -> None:
        if isinstance(event, TarEntry):
            self._end_file()
            self._begin_entry(event)
        else:
            self._hash.update(event)
            self._write(event)

    def _write(self, piece: memoryview) -> None:
        try:
            while piece:
                written = os.write(self._content, piece)
                self._position += written
                piece = piece[written:]
        except OSError as error:
            raise HostFailed(f"can't keep the build context: {(error.strerror or '').lower()}") from error

    def _begin_entry(self, entry: TarEntry) -> None:
        path = _clean(entry.name)
        if len(self._entries) > _MOST_ENTRIES:
            raise InvalidArgument(
                f"the build context has more than {_MOST_ENTRIES} files", "leave some out by a .dockerignore"
            )
        if entry.kind == REGULAR:
            self._file, self._begin, self._hash = (path, entry), self._position, hashlib.sha256()
        elif entry.kind == HARD_LINK:
            target = self._entries.get(_clean(entry.link))
            if target is None or target.is_folder:
                raise TarError(f"{shown(entry.name)} is a hard link to {shown(entry.link)}, which isn't in the archive")
            self._put(path, target)
        elif entry.kind in _TYPES:
            self._put(path, _make_entry(entry, os.makedev(*entry.device)))
        else:
            raise TarError(f"entry of the unknown type {shown(entry.kind)}")

    def _end_file(self) -> None:
        if self._file is not None:
            (path, entry), self._file = self._file, None
            self._put(path, _make_entry(entry, 0, self._hash.digest(), self._begin))

    def _put(self, path: str, entry: Entry) -> None:
        """Folders that the tar doesn't mention are made; what is in the way is replaced, with all that is in it."""
        if not path and not entry.is_folder:
            raise TarError("the archive's root is not a folder")
        self._make_parents(path)
        before = self._entries.get(path)
        if before is not None and before.is_folder and not entry.is_folder:
            doomed = [name for name in self._entries if name.startswith(f"{path}/")]
            for name in doomed:
                del self._entries[name]
        self._entries[path] = entry

    def _make_parents(self, path: str) -> None:
        end = path.find("/")
        while end > 0:
            parent = self._entries.get(path[:end])
            if parent is None or not parent.is_folder:
                self._entries[path[:end]] = Entry(stat.S_IFDIR | 0o755)
            end = path.find("/", end + 1)


def _make_entry(entry: TarEntry, device: int, digest: bytes = b"", offset: int = 0) -> Entry:
    xattrs = {
        name: value
        for name, value in ((os.fsdecode(key), value) for key, value in entry.xattrs.items())
        if not name.startswith(_OVERLAY_XATTRS)
    }
    return Entry(
        mode=_TYPES[entry.kind] | entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        mtime_ns=entry.mtime_ns,
        size=entry.size,
        link=os.fsdecode(entry.link) if entry.kind == SYMBOLIC_LINK else "",
        device=device,
        digest=digest,
        offset=offset,
        xattrs=xattrs or None,
    )


def _clean(name: bytes) -> str:
    """Relative to the root, above which there is nothing: `../a` is `a`, as for dockerd."""
    return os.fsdecode(posixpath.normpath(b"//" + name).lstrip(b"/"))
