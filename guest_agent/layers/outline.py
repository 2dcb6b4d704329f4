"""A layer's *outline*: its tar without the contents of its files, so that the very same tar can be made again.

Only unpacked layers are kept, but `save`, `push` and a check need a layer byte by byte: its digest stands in every
configuration that names it. No packer brings back what another program wrote into headers, padding and order. So the
unpacker copies everything that isn't a file's content into the outline (a few per mille of the layer, compressed),
and the repacker puts the files' contents in between again. docker's graph driver does this with tar-split.

The format is a gzip stream of records: kind, length, data.
  raw       bytes of the tar as they were
  content   of a file: its size (8 bytes) and its name in the tree; `length` is that of both
  replaced  the content of a file that a later entry of the same layer took the place of: the ordinal of its `content`
            record (8 bytes), then the bytes. It stands behind the record that it belongs to.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

RAW = b"r"
CONTENT = b"c"
REPLACED = b"x"

_HEAD = struct.Struct(">cI")
_NUMBER = struct.Struct(">Q")
_READ_SIZE = 256 << 10
#: A replaced file above this makes the outline void: it would have to be kept in memory to be written in its place.
MAX_REPLACED = 32 << 20
_GZIP = 31  #: zlib's wbits for a gzip stream with the largest window


class OutlineError(ValueError):
    """The outline can't be read: damaged, or not one."""


@dataclass(frozen=True, slots=True)
class Content:
    """The place of a file's content. `name` is relative to the layer's root."""

    name: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Replaced:
    """What the content with that ordinal (counted from 0) was."""

    ordinal: int
    data: bytes


Record = bytes | Content | Replaced  #: bytes are those of the tar


class OutlineWriter:
    """Takes a tar's bytes together with where the contents lie in it; writes to a descriptor, which it closes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._compressor = zlib.compressobj(1, wbits=_GZIP)
        self._expected: deque[tuple[int, Content]] = deque()  # contents whose first byte hasn't passed yet
        self._position = 0
        self._left = 0  # of the content that is passing
        self._ordinals: dict[bytes, int] = {}
        self._count = 0
        self.void = False  #: it can't bring the tar back, and is of no use

    def expect(self, position: int, content: Content) -> None:
        """A file's content begins at that byte of the tar. To be said before `take` gets that byte."""
        self._expected.append((position, content))
        self._ordinals[content.name] = self._count
        self._count += 1

    def take(self, piece: bytes) -> None:
        """The next bytes of the tar, after everything that begins in them has been expected."""
        view = memoryview(piece)
        while view:
            skipped = min(self._left, len(view))
            self._left -= skipped
            raw = view[skipped : self._until_content(len(view), skipped)]
            if raw:
                self._put(RAW, raw)
            self._position += skipped + len(raw)
            view = view[skipped + len(raw) :]
            self._begin_content()

    def replace(self, name: bytes) -> None:
        """What has that name is about to be removed by a later entry: a file, or a folder with files in it."""
        inside = name + b"/"
        for lost in [other for other in self._ordinals if other == name or other.startswith(inside)]:
            self._keep(lost, self._ordinals.pop(lost))

    def finish(self) -> None:
        self._write(self._compressor.flush())
        os.close(self._descriptor)

    def _until_content(self, end: int, skipped: int) -> int:
        """Where in the piece the next content begins; its end if none does."""
        if not self._expected:
            return end
        return min(end, max(skipped, self._expected[0][0] - self._position))

    def _begin_content(self) -> None:
        if self._expected and self._expected[0][0] == self._position and not self._left:
            content = self._expected.popleft()[1]
            self._left = content.size
            self._put(CONTENT, _NUMBER.pack(content.size) + content.name)

    def _keep(self, name: bytes, ordinal: int) -> None:
        with open(name, "rb") as file:
            data = file.read(MAX_REPLACED + 1)
        self.void = self.void or len(data) > MAX_REPLACED
        if not self.void:
            self._put(REPLACED, _NUMBER.pack(ordinal) + data)

    def _put(self, kind: bytes, data: bytes | memoryview) -> None:
        self._write(self._compressor.compress(_HEAD.pack(kind, len(data))) + self._compressor.compress(data))

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]


def read_outline(descriptor: int) -> Iterator[Record]:
    """Its records, from the file's start. Raises OutlineError."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    buffer = bytearray()
    for piece in _inflated(descriptor):
        buffer += piece
        while len(buffer) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(buffer)
            if len(buffer) < _HEAD.size + length:
                break
            yield _record(kind, bytes(buffer[_HEAD.size : _HEAD.size + length]))
            del buffer[: _HEAD.size + length]
    if buffer:
        raise OutlineError("it ends inside a record")


def _inflated(descriptor: int) -> Iterator[bytes]:
    decompressor = zlib.decompressobj(wbits=_GZIP)
    try:
        while data := os.read(descriptor, _READ_SIZE):
            yield decompressor.decompress(data)
    except zlib.error as error:
        raise OutlineError(str(error)) from error
    if not decompressor.eof:
        raise OutlineError("it ends early")


def _record(kind: bytes, data: bytes) -> Record:
    if kind == RAW:
        return data
    if kind not in (CONTENT, REPLACED) or len(data) < _NUMBER.size:
        raise OutlineError("it holds an unknown record")
    number, rest = _NUMBER.unpack_from(data)[0], data[_NUMBER.size :]
    return Content(rest, number) if kind == CONTENT else Replaced(number, rest)
