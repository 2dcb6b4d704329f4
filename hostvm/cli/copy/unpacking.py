"""A tar from a container -> files of this computer, as the user who called.

The container isn't trusted. A name may not lead out of the folder, and nothing is written through a link that came with
the same archive: a link may lead anywhere, since only the user follows it.
"""

from __future__ import annotations

import io
import os
import posixpath
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator

from hostvm.cli.failure import Failure


class _Reader(io.RawIOBase):
    """Pieces as tarfile wants to read them."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while len(self._rest) < size and (piece := next(self._pieces, b"")):
            self._rest += piece
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def unpack(pieces: Iterator[bytes], folder: str, rename: Callable[[str], str]) -> None:
    """Raises Failure for what the archive does wrong, OSError for what this computer refuses."""
    unpacker = _Unpacker(folder)
    try:
        with tarfile.open(fileobj=_Reader(pieces), mode="r|") as archive:
            for member in archive:
                unpacker.put(archive, member, rename)
    except tarfile.TarError as error:
        raise Failure(f"the archive can't be read: {error}") from error
    unpacker.finish()


class _Unpacker:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._links: set[str] = set()
        self._times: dict[str, float] = {}

    def put(self, archive: tarfile.TarFile, member: tarfile.TarInfo, rename: Callable[[str], str]) -> None:
        name = self._inner(rename(member.name))
        if name == ".":
            return
        place = os.path.join(self._folder, name)
        self._make_way(place, member)
        if member.isdir():
            self._make_folder(place, member)
        elif member.issym():
            os.symlink(member.linkname, place)
            self._links.add(name)
        elif member.islnk():
            os.link(os.path.join(self._folder, self._inner(rename(member.linkname))), place, follow_symlinks=False)
            if os.path.islink(place):
                self._links.add(name)
        elif member.isreg():
            _write_file(archive, member, place)
        else:
            _make_node(member, place)

    def finish(self) -> None:
        """Folders get their times when nothing is written into them any more."""
        for place, time in self._times.items():
            os.utime(place, (time, time))

    def _inner(self, name: str) -> str:
        clean = posixpath.normpath(name.lstrip("/") or ".")
        if clean == ".." or clean.startswith("../"):
            raise Failure(f'"{name}" is outside of "{self._folder}"')
        parts = clean.split("/")
        if any("/".join(parts[:count]) in self._links for count in range(1, len(parts))):
            raise Failure(f'"{name}" leads through a link of the same archive')
        return clean

    def _make_way(self, place: str, member: tarfile.TarInfo) -> None:
        try:
            is_folder = stat.S_ISDIR(os.lstat(place).st_mode)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            return
        if is_folder and not member.isdir():
            raise Failure(f'cannot overwrite directory "{place}" with non-directory "{self._folder}"')
        if not is_folder and member.isdir():
            raise Failure(f'cannot overwrite non-directory "{place}" with directory "{self._folder}"')
        if not is_folder:
            os.unlink(place)

    def _make_folder(self, place: str, member: tarfile.TarInfo) -> None:
        os.makedirs(place, exist_ok=True)
        os.chmod(place, member.mode & 0o7777 | 0o700 * (os.geteuid() != 0))
        self._times[place] = member.mtime


def _write_file(archive: tarfile.TarFile, member: tarfile.TarInfo, place: str) -> None:
    content = archive.extractfile(member)
    assert content is not None
    with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        shutil.copyfileobj(content, file, 1 << 18)
        os.fchmod(file.fileno(), member.mode & 0o7777)
    os.utime(place, (member.mtime, member.mtime))


def _make_node(member: tarfile.TarInfo, place: str) -> None:
    kinds = {tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK, tarfile.FIFOTYPE: stat.S_IFIFO}
    kind = kinds.get(member.type)
    if kind is not None:
        os.mknod(place, kind | member.mode & 0o7777, os.makedev(member.devmajor, member.devminor))
