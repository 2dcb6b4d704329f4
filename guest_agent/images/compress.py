"""A layer's tar, compressed for a registry: the same tar always gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Protocol

from guest_agent.images.manifests import DOCKER_LAYER, OCI_LAYER_ZSTD
from guest_agent.wire.errors import InvalidArgument

_PIECE = 256 << 10


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class Compression(StrEnum):
    GZIP = "gzip"
    ZSTD = "zstd"

    @property
    def media_type(self) -> str:
        """docker's manifests know no zstd."""
        return DOCKER_LAYER if self is Compression.GZIP else OCI_LAYER_ZSTD


def parse_compression(text: str) -> Compression:
    """ "" is gzip. Raises InvalidArgument."""
    try:
        return Compression(text or Compression.GZIP)
    except ValueError:
        known = ", ".join(Compression)
        raise InvalidArgument(f"unknown compression {text!r}", f"known: {known}") from None


def compressed(pieces: Iterable[bytes], how: Compression) -> Iterator[bytes]:
    """In pieces of some 256 KiB."""
    compressor = _zstd() if how is Compression.ZSTD else _gzip()
    waiting = bytearray()
    for piece in pieces:
        waiting += compressor.compress(piece)
        if len(waiting) >= _PIECE:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting) + compressor.flush()


def _gzip() -> _Compressor:
    """zlib's usual level, as docker's; its header holds no time and no name."""
    from zlib import compressobj

    return compressobj(wbits=31)


def _zstd() -> _Compressor:
    import zstandard

    return zstandard.ZstdCompressor(level=3).compressobj()
