"""Helper process: a tree -> a tar on standard output: an overlay's upper folder as a layer, or a whole root as it is.

Argument: {"root": folder, "whiteouts": bool, "userxattr": bool, "outline": descriptor}. With "outline" it waits for a
word on standard input, writes {"diff_id", "size", "tar_size"} instead of the tar, and the outline. It works in a
chroot, because a running container can swap a folder for a symbolic link while we walk. The report, {} or {"kind",
"message"}, goes to standard error.

Times are cut to seconds and headers are pax, as docker writes layers.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import tarfile
from collections.abc import Iterator
from typing import Any, Protocol

from guest_agent.layers import child
from guest_agent.layers.outline import Content, OutlineWriter

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


class Output(Protocol):
    """Where a tar goes."""

    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> object: ...


class _Measure:
    """A tar that nobody wants but for its digest and its outline."""

    def __init__(self, outline: int) -> None:
        self._sum = hashlib.sha256()
        self._outline = OutlineWriter(outline)
        self.size = self.tar_size = 0

    def write(self, data: bytes, /) -> None:
        self._sum.update(data)
        self._outline.take(data)
        self.tar_size += len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def content(self, name: str, size: int) -> None:
        """A file's content begins here."""
        self.size += size
        self._outline.expect(self.tar_size, Content(os.fsencode(name), size))

    def report(self) -> dict[str, Any]:
        self._outline.finish()
        return {"diff_id": f"sha256:{self._sum.hexdigest()}", "size": self.size, "tar_size": self.tar_size}


class TreePacker:
    """Walks the working directory and writes it. Raises OSError; what vanishes meanwhile is left out."""

    def __init__(self, output: Output, whiteouts: bool, userxattr: bool, latest: int | None = None) -> None:
        self._output = output
        self._latest = latest
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
        if self._latest is not None:
            header.mtime = min(header.mtime, self._latest)
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
            if header.size and isinstance(self._output, _Measure):
                self._output.content(name, header.size)
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
    header.mtime = status.st_mtime_ns // 10**9
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


def _pack(packer: TreePacker) -> dict[str, Any]:
    """The report: {} if all is well."""
    try:
        packer.pack()
    except OSError as error:
        return {**child.describe(error, f"read {packer.where!r}"), "kind": "host-failed"}
    return {}


def main() -> None:
    arguments = json.loads(sys.argv[1])
    child.exit_when_unread(1)
    measure = _Measure(arguments["outline"]) if "outline" in arguments else None
    if measure and not os.read(0, 2):
        return
    child.enter(arguments["root"])
    output, latest = measure or sys.stdout.buffer, arguments.get("latest")
    packer = TreePacker(output, arguments["whiteouts"], arguments["userxattr"], latest)
    report = _pack(packer)
    if measure and not report:
        os.write(1, json.dumps(measure.report()).encode())
    os.write(2, json.dumps(report).encode())
    os._exit(bool(report))


if __name__ == "__main__":
    main()
