"""Binary packages: an ar archive of debian-binary, control.tar and data.tar (deb(5)). Bytes in, tars out."""

from __future__ import annotations

import io
import tarfile
from typing import IO

from guest_agent.wire.errors import PeerMisbehaved

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
_COMPRESSIONS = {"": "", ".gz": "gz", ".xz": "xz", ".bz2": "bz2"}


def ar_members(data: bytes) -> dict[str, memoryview]:
    """The members of an ar archive by name. Raises ValueError where it isn't one or is truncated."""
    if not data.startswith(_AR_MAGIC):
        raise ValueError("not an ar archive")
    members: dict[str, memoryview] = {}
    view = memoryview(data)
    offset = len(_AR_MAGIC)
    while offset < len(data):
        header = data[offset : offset + _AR_HEADER]
        if len(header) < _AR_HEADER or header[58:] != b"`\n":
            raise ValueError("a damaged header in the ar archive")
        size = int(header[48:58])
        start = offset + _AR_HEADER
        if start + size > len(data):
            raise ValueError("the ar archive is truncated")
        members[header[:16].decode("ascii", "replace").strip().rstrip("/")] = view[start : start + size]
        offset = start + size + size % 2
    return members


def open_member(data: bytes, stem: str) -> tarfile.TarFile:
    """The tar `control.tar*` or `data.tar*` of a .deb. Raises ValueError, tarfile.TarError."""
    for name, content in ar_members(data).items():
        if name.startswith(stem):
            return _open_tar(content, name.removeprefix(stem))
    raise ValueError(f"no {stem} in the package")


def _open_tar(content: memoryview, suffix: str) -> tarfile.TarFile:
    if suffix == ".zst":
        return tarfile.open(fileobj=_unzstd(content))
    if suffix not in _COMPRESSIONS:
        raise ValueError(f"compression {suffix} isn't known")
    return tarfile.open(fileobj=io.BytesIO(content), mode=f"r:{_COMPRESSIONS[suffix]}")  # type: ignore[call-overload,no-any-return]


def _unzstd(content: memoryview) -> IO[bytes]:
    """Ubuntu's packages are zstd; the standard library has it only from Python 3.14 on."""
    import zstandard

    return io.BytesIO(zstandard.ZstdDecompressor().decompressobj().decompress(content))


def open_data(path: str) -> tarfile.TarFile:
    """The files of the .deb at `path`. Raises PeerMisbehaved, one line, when it can't be read."""
    try:
        with open(path, "rb") as file:
            return open_member(file.read(), "data.tar")
    except (ValueError, EOFError, tarfile.TarError) as error:
        raise PeerMisbehaved(f"damaged package {path}: {error}", "remove the file and try again") from error
