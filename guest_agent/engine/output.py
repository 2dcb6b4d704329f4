"""What a container prints, on disk: the bytes of each stream as they came, and an index of chunks.

    logs/stdout, logs/stderr   the raw bytes
    logs/index                 16 bytes a chunk, in the order of arrival: stream, length, time

A pipe's bytes are moved into the file by splice(2), in one system call. An engine that is killed at any moment has
therefore moved a byte or has not: it is in the file or still in the pipe, which the keeper holds for the successor.
What was moved but not yet indexed is found by comparing the index with the files' sizes. Nothing is lost and nothing
comes twice, where reading and then writing would lose a buffer.

Everything that shows output (attach, logs, the exchange of `run`) reads from here, each at its own pace: a stalled
client neither stops the container nor costs memory.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

STDOUT, STDERR = 1, 2

_ENTRY = struct.Struct("<BxxxIQ")
ENTRY_SIZE = _ENTRY.size

#: One splice moves at most a pipe's usual capacity (pipe(7): 65,536 bytes).
_SPLICE_SIZE = 1 << 16

_NAMES = {STDOUT: "stdout", STDERR: "stderr"}


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of output: where it stands in its stream's file, and when it came."""

    stream: int
    length: int
    time_ns: int
    offset: int


@dataclass(slots=True)
class Position:
    """A place between two chunks: how many entries of the index, and bytes of each stream, lie before it."""

    entries: int
    stdout: int
    stderr: int

    def pass_over(self, chunk: Chunk) -> None:
        self.entries += 1
        if chunk.stream == STDOUT:
            self.stdout += chunk.length
        else:
            self.stderr += chunk.length

    def offset(self, stream: int) -> int:
        return self.stdout if stream == STDOUT else self.stderr


def _bytes_in(pipe: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"))[0])


class OutputLog:
    """The output of one container over all its runs. The files are made at the first byte."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._files: dict[str, int] = {}
        self._listeners: set[Callable[[], None]] = set()
        self._closing = False
        self.end = Position(0, 0, 0)
        if os.path.isdir(directory):
            self._recover()

    # -- writing

    def splice(self, pipe: int, stream: int) -> int:
        """Move what a readable pipe holds into the stream's file; how many bytes, 0 at the pipe's end.

        On a full disk the bytes are dropped, so that the container goes on (as dockerd does).
        """
        if not _bytes_in(pipe):
            return 0  # readable and empty is the end; a container that is silent costs no file
        try:
            moved = os.splice(pipe, self._file(_NAMES[stream]), _SPLICE_SIZE, offset_dst=self.end.offset(stream))
        except OSError:
            return len(os.read(pipe, _SPLICE_SIZE))
        if moved:
            self._note(stream, moved, time.time_ns())
        return moved

    def append(self, data: bytes, stream: int) -> None:
        """Write bytes that come from a terminal, which can't be spliced into a file."""
        try:
            written = os.pwrite(self._file(_NAMES[stream]), data, self.end.offset(stream))
        except OSError:
            return
        self._note(stream, written, time.time_ns())

    def _note(self, stream: int, length: int, time_ns: int) -> None:
        try:
            os.pwrite(self._file("index"), _ENTRY.pack(stream, length, time_ns), self.end.entries * ENTRY_SIZE)
        except OSError:  # a full disk: bytes without an entry would come again at the next start
            os.ftruncate(self._file(_NAMES[stream]), self.end.offset(stream))
            return
        self.end.pass_over(Chunk(stream, length, time_ns, 0))
        self.notify()

    # -- reading

    def chunks(self, position: Position, limit: int = 256) -> list[Chunk]:
        """Up to `limit` chunks from `position` on; the position itself isn't moved."""
        count = min(limit, self.end.entries - position.entries)
        if count <= 0:
            return []
        data = os.pread(self._file("index"), count * ENTRY_SIZE, position.entries * ENTRY_SIZE)
        walker = Position(position.entries, position.stdout, position.stderr)
        chunks = []
        for stream, length, time_ns in _ENTRY.iter_unpack(data):
            chunk = Chunk(stream, length, time_ns, walker.offset(stream))
            walker.pass_over(chunk)
            chunks.append(chunk)
        return chunks

    def chunks_before(self, position: Position, limit: int = 256) -> list[Chunk]:
        """Up to `limit` chunks that lie before `position`, the nearest first."""
        first = max(0, position.entries - limit)
        if first == position.entries:
            return []
        data = os.pread(self._file("index"), (position.entries - first) * ENTRY_SIZE, first * ENTRY_SIZE)
        offsets = {STDOUT: position.stdout, STDERR: position.stderr}
        chunks = []
        for stream, length, time_ns in reversed(list(_ENTRY.iter_unpack(data))):
            offsets[stream] -= length
            chunks.append(Chunk(stream, length, time_ns, offsets[stream]))
        return chunks

    def read(self, chunk: Chunk) -> bytes:
        return os.pread(self._file(_NAMES[chunk.stream]), chunk.length, chunk.offset)

    def notify(self) -> None:
        """Wake all who listen: there is more, or nothing more will come."""
        for listener in self._listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each chunk and when a run's output has ended, until `unlisten`."""
        self._listeners.add(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        self._listeners.discard(listener)
        if self._closing:
            self.close()

    def snapshot(self) -> Position:
        """The end as it is at this moment."""
        return Position(self.end.entries, self.end.stdout, self.end.stderr)

    # -- files

    def close(self) -> None:
        """Close the files; they are opened again when needed.

        While somebody listens they stay open: the folder may be removed next, and he hasn't read everything yet.
        """
        self._closing = bool(self._listeners)
        if self._closing:
            return
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()

    def _file(self, name: str) -> int:
        fd = self._files.get(name)
        if fd is None:
            fd = self._files[name] = self._open(name)
        return fd

    def _open(self, name: str) -> int:
        path = os.path.join(self._directory, name)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o640)
        except FileNotFoundError:
            os.makedirs(self._directory, mode=0o710, exist_ok=True)
            return os.open(path, flags, 0o640)

    def _recover(self) -> None:
        """After a power cut the index may end in zeros, or tell of bytes that never got to the disk."""
        sizes = {stream: os.fstat(self._file(name)).st_size for stream, name in _NAMES.items()}
        for stream, length, time_ns in self._index_entries():
            if self.end.offset(stream) + length > sizes.get(stream, -1):
                break
            self.end.pass_over(Chunk(stream, length, time_ns, 0))
        for stream, size in sizes.items():
            if size > self.end.offset(stream):
                self._note(stream, size - self.end.offset(stream), time.time_ns())
        self.close()

    def _index_entries(self) -> Iterator[tuple[int, int, int]]:
        size = os.fstat(self._file("index")).st_size
        for start in range(0, size, ENTRY_SIZE << 16):
            block = os.pread(self._file("index"), ENTRY_SIZE << 16, start)
            yield from _ENTRY.iter_unpack(block[: len(block) // ENTRY_SIZE * ENTRY_SIZE])
