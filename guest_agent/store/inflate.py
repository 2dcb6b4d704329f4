"""Decompression of a stream by what its first bytes say: gzip, zstd, bzip2, xz or none. Bytes in, bytes out.

Output comes in pieces of bounded size, so that a few kilobytes that inflate to gigabytes don't fill the memory.
Several members one after another are one stream, as pigz and estargz write them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from guest_agent.wire.compression import BZIP2, COMPRESSED, GZIP, XZ, ZSTD

#: How much of a stream tells what it is.
MAGIC_SIZE = max(map(len, COMPRESSED))
#: A piece of output: big enough that Python's share is small, small enough for the cache.
_PIECE = 1 << 20
#: zstd has no limit for its output; a block of 4 bytes becomes at most 128 KiB (RFC 8878, 3.1.1.2).
_ZSTD_SLICE = 4096


class InflateError(ValueError):
    """The compressed stream is damaged, or of an unknown kind."""


class Inflater(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]:
        """What `data` inflates to; to be exhausted before the next call. Raises InflateError."""

    def finish(self) -> None:
        """Call at the end: InflateError if the stream is incomplete."""


class _Decompressor(Protocol):
    """What isal's, bz2's and lzma's decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _ZstdDecompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes) -> bytes: ...


def open_inflater(start: bytes) -> Inflater:
    """The inflater for a stream that begins with `start` (MAGIC_SIZE bytes, or the whole stream if it is shorter).

    Imports what it needs at once: afterwards it works in a chroot.
    """
    if start.startswith(GZIP):
        return _Members(_gzip())
    if start.startswith(ZSTD):
        return _Zstd()
    if start.startswith(BZIP2):
        from bz2 import BZ2Decompressor

        return _Members(BZ2Decompressor)
    if start.startswith(XZ):
        from lzma import LZMADecompressor

        return _Members(LZMADecompressor)
    return _Plain()


class _Plain:
    def feed(self, data: bytes) -> Iterator[bytes]:
        if data:
            yield data

    def finish(self) -> None:
        """Any end is a good end."""


def _gzip() -> Callable[[], _Decompressor]:
    """isal inflates two to three times as fast; an interpreter that has no build of it still has zlib."""
    try:
        from isal.igzip_lib import DECOMP_GZIP, IgzipDecompressor
    except ImportError:
        return _ZlibGzip

    def make() -> _Decompressor:
        decompressor: _Decompressor = IgzipDecompressor(flag=DECOMP_GZIP)
        return decompressor

    return make


class _ZlibGzip:
    """zlib's decompressor with isal's manners: what it hasn't taken yet stays inside."""

    def __init__(self) -> None:
        from zlib import decompressobj

        self._object = decompressobj(wbits=31)  # 16 + 15: gzip's header, the largest window
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        limit = max(max_length, 0)  # 0 = none
        piece = self._object.decompress(self._object.unconsumed_tail + data, limit)
        self.needs_input = not self._object.unconsumed_tail and (not limit or len(piece) < limit)
        return piece


class _Members:
    """A row of members, each with a decompressor of its own; zeros after the last one are padding."""

    def __init__(self, make: Callable[[], _Decompressor]) -> None:
        self._make = make
        self._member = make()
        self._inside = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if not self._inside:
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._member = self._make()
                self._inside = True
            yield from self._inflate(data)
            data = self._member.unused_data if self._member.eof else b""
            self._inside = not self._member.eof

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        member = self._member
        while True:
            try:
                piece = member.decompress(data, _PIECE)
            except Exception as error:  # each library raises its own, isal several
                raise InflateError(f"invalid compressed data: {error}") from error
            if piece:
                yield piece
            if member.eof or member.needs_input:
                return
            data = b""

    def finish(self) -> None:
        if self._inside:
            raise InflateError("unexpected end of the compressed data")


class _Zstd:
    def __init__(self) -> None:
        import zstandard

        self._context = zstandard.ZstdDecompressor()
        self._error = zstandard.ZstdError
        self._frame: _ZstdDecompressor | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _ZSTD_SLICE):
            rest = data[start : start + _ZSTD_SLICE]
            while rest:
                piece, rest = self._inflate(rest)
                if piece:
                    yield piece

    def _inflate(self, data: bytes) -> tuple[bytes, bytes]:
        if self._frame is None:
            self._frame = self._context.decompressobj()
        frame = self._frame
        try:
            piece = frame.decompress(data)
        except self._error as error:
            raise InflateError(f"invalid compressed data: {error}") from error
        if not frame.eof:
            return piece, b""
        self._frame = None
        return piece, frame.unused_data

    def finish(self) -> None:
        if self._frame is not None:
            raise InflateError("unexpected end of the compressed data")
