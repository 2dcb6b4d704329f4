"""Helper process: a tree -> a tar on standard output: an overlay's upper folder as a layer, or a whole root as it is.

Argument: {"root": folder, "whiteouts": bool, "userxattr": bool}. It works in a chroot, because a running container can
swap a folder for a symbolic link while we walk. The report, {} or {"kind", "message"}, goes to standard error.

Times are cut to seconds and headers are pax, as docker writes layers.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from guest_agent.layers import child

_COPY_SIZE = 1 << 20
_END = bytes(2 * tarfile.BLOCKSIZE)
_TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}  # sockets can't be in a tar


class TreePacker:
    """Walks the working directory and writes it. Raises OSError; what vanishes meanwhile is left out."""

    def __init__(self, output: BinaryIO, whiteouts: bool, userxattr: bool) -> None:
        self._output = output
        self._whiteouts = whiteouts
        prefix = "user" if userxattr else "trusted"
        self._overlay_prefix = f"{prefix}.overlay."
        self._links: dict[tuple[int, int], str] = {}
        self.where = "/"

    def pack(self) -> None:
        for name in self._walk():
            self.where = name
            try:
                self._put(name)
            except FileNotFoundError:
                continue
        self._output.write(_END)
        self._output.flush()

    def _walk(self) -> Iterator[str]:
        """Names relative to the root, a folder before what is in it, sorted: the same tree gives the same tar."""
        pending = ["."]
        while pending:
            folder = pending.pop()
            yield folder
            try:
                with os.scandir(folder) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except (FileNotFoundError, NotADirectoryError):
                continue
            prefix = "" if folder == "." else folder + "/"
            folders = [prefix + entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
            yield from (prefix + entry.name for entry in found if not entry.is_dir(follow_symlinks=False))
            pending.extend(reversed(folders))

    def _put(self, name: str) -> None:
        status = os.lstat(name)
        kind = _TYPES.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        if self._whiteouts and kind == tarfile.CHRTYPE and status.st_rdev == 0:
            self._put_marker(_beside(name, ".wh." + os.path.basename(name)))
            return
        header = _header(name, self._shown(name), status, kind)
        xattrs = _xattrs(name)
        self._add_xattrs(header, xattrs)
        if kind == tarfile.REGTYPE:
            self._put_file(name, header, status)
        else:
            self._write_header(header)
        if self._whiteouts and xattrs.get(self._overlay_prefix + "opaque") == b"y":
            self._put_marker(name + "/.wh..wh..opq" if name != "." else ".wh..wh..opq")

    def _shown(self, name: str) -> str:
        """The name in the archive."""
        return name if name != "." else "./"

    def _put_file(self, name: str, header: tarfile.TarInfo, status: os.stat_result) -> None:
        key = (status.st_dev, status.st_ino)
        if key in self._links:
            header.type, header.linkname, header.size = tarfile.LNKTYPE, self._links[key], 0
            self._write_header(header)
            return
        with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb", buffering=0) as file:
            header.size = os.fstat(file.fileno()).st_size
            self._write_header(header)
            self._copy(file, header.size)
        if status.st_nlink > 1:
            self._links[key] = header.name

    def _copy(self, file: Any, size: int) -> None:
        """Exactly `size` bytes: a file that shrinks meanwhile is filled up with zeros."""
        left = size
        while left:
            data = file.read(min(left, _COPY_SIZE)) or bytes(min(left, _COPY_SIZE))
            self._output.write(data)
            left -= len(data)
        self._output.write(bytes(-size % tarfile.BLOCKSIZE))

    def _add_xattrs(self, header: tarfile.TarInfo, xattrs: dict[str, bytes]) -> None:
        header.pax_headers = {
            "SCHILY.xattr." + key: value.decode("utf-8", "surrogateescape")
            for key, value in xattrs.items()
            if not key.startswith(self._overlay_prefix)
        }

    def _put_marker(self, name: str) -> None:
        marker = tarfile.TarInfo(name)
        marker.mode = 0o600
        self._write_header(marker)

    def _write_header(self, header: tarfile.TarInfo) -> None:
        self._output.write(header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))


def _beside(name: str, other: str) -> str:
    return os.path.join(os.path.dirname(name), other)


def _header(name: str, shown: str, status: os.stat_result, kind: bytes) -> tarfile.TarInfo:
    header = tarfile.TarInfo(shown)
    header.type = kind
    header.mode = stat.S_IMODE(status.st_mode)
    header.uid, header.gid = status.st_uid, status.st_gid
    header.mtime = int(status.st_mtime)
    if kind == tarfile.SYMTYPE:
        header.linkname = os.readlink(name)
    if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        header.devmajor, header.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    return header


def _xattrs(name: str) -> dict[str, bytes]:
    try:
        keys = os.listxattr(name, follow_symlinks=False)
        return {key: os.getxattr(name, key, follow_symlinks=False) for key in keys}
    except OSError:
        return {}


def main() -> None:
    arguments = json.loads(sys.argv[1])
    child.exit_when_unread(1)
    child.enter(arguments["root"])
    packer = TreePacker(sys.stdout.buffer, arguments["whiteouts"], arguments["userxattr"])
    report: dict[str, Any] = {}
    try:
        packer.pack()
    except OSError as error:
        report = {**child.describe(error, f"read {packer.where!r}"), "kind": "host-failed"}
    os.write(2, json.dumps(report).encode())
    os._exit(bool(report))


if __name__ == "__main__":
    main()
