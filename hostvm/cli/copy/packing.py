"""A file or folder of this computer as a tar, piece by piece, as docker's client writes it."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterator

from hostvm.cli.copy.paths import End, split

_PIECE = 1 << 18
_BLOCK = tarfile.BLOCKSIZE


def pack(source: End, rename: Callable[[str], str]) -> Iterator[bytes]:
    """The tar. Times are cut to seconds, owners are numbers; sockets are left out. Raises OSError."""
    folder, entry = split(source.path)
    archive = _Archive()
    for place, name in _walk(folder, entry):
        shown = name.replace(entry, source.rebase, 1) if source.rebase else name
        yield from archive.put(place, rename(shown))
    yield bytes(2 * _BLOCK)


def _walk(folder: str, entry: str) -> Iterator[tuple[str, str]]:
    """(path, name in the archive) of the entry and everything below it, a folder before what is in it."""
    pending = [entry]
    while pending:
        name = pending.pop()
        place = f"{folder}/{name}"
        yield place, name
        if stat.S_ISDIR(os.lstat(place).st_mode):
            pending += [f"{name}/{inner}" for inner in sorted(os.listdir(place), reverse=True)]


class _Archive:
    """Knows the files that have more than one name."""

    def __init__(self) -> None:
        self._links: dict[tuple[int, int], str] = {}

    def put(self, place: str, name: str) -> Iterator[bytes]:
        status = os.lstat(place)
        if stat.S_ISSOCK(status.st_mode):
            return
        header = _header(place, name, status)
        key = (status.st_dev, status.st_ino)
        if header.isreg() and status.st_nlink > 1:
            first = self._links.setdefault(key, name)
            if first != name:
                header.type, header.linkname, header.size = tarfile.LNKTYPE, first, 0
        if header.isreg():
            yield from _file(place, header)
        else:
            yield _bytes_of(header)


def _file(place: str, header: tarfile.TarInfo) -> Iterator[bytes]:
    """Exactly as many bytes as the header says: a file may grow or shrink meanwhile."""
    with open(place, "rb") as file:
        header.size = os.fstat(file.fileno()).st_size
        yield _bytes_of(header)
        left = header.size
        while left:
            piece = file.read(min(left, _PIECE)) or bytes(min(left, _PIECE))
            left -= len(piece)
            yield piece
    yield bytes(-header.size % _BLOCK)


def _header(place: str, name: str, status: os.stat_result) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type = _TYPES.get(stat.S_IFMT(status.st_mode), tarfile.REGTYPE)
    header.mode = stat.S_IMODE(status.st_mode)
    header.uid, header.gid = status.st_uid, status.st_gid
    header.mtime = int(status.st_mtime)
    if header.issym():
        header.linkname = os.readlink(place)
    if header.ischr() or header.isblk():
        header.devmajor, header.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    return header


_TYPES = {
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


def _bytes_of(header: tarfile.TarInfo) -> bytes:
    return header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
