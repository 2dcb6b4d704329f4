"""One stretch of a container's output on disk: the bytes of each stream as they came, and an index of chunks.

    stdout, stderr   the raw bytes
    index            16 bytes a chunk, in the order of arrival: stream, length, time

A pipe's bytes are moved into the file by splice(2), in one system call. An engine that is killed at any moment has
therefore moved a byte or has not: it is in the file or still in the pipe, which the keeper holds for the successor.
What was moved but not yet indexed is found by comparing the index with the files' sizes. Nothing is lost and nothing
comes twice, where reading and then writing would lose a buffer.

Positions and offsets count from the container's first byte on, whatever came before the stretch has been thrown away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import compress

STDOUT, STDERR = 1, 2

_ENTRY = struct.Struct("<BxxxIQ")
ENTRY_SIZE = _ENTRY.size

#: One splice moves at most a pipe's usual capacity (pipe(7): 65,536 bytes).
_SPLICE_SIZE = 1 << 16

_NAMES = {STDOUT: "stdout", STDERR: "stderr"}


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of output: where it stands in its stream, and when it came."""

    stream: int
    length: int
    time_ns: int
    offset: int


@dataclass(slots=True)
class Position:
    """A place between two chunks: how many chunks, and bytes of each stream, lie before it."""

    entries: int
    stdout: int
    stderr: int

    def pass_over(self, chunk: Chunk) -> None:
        self.entries += 1
        if chunk.stream == STDOUT:
            self.stdout += chunk.length
        else:
            self.stderr += chunk.length

    def move_to(self, other: Position) -> None:
        self.entries, self.stdout, self.stderr = other.entries, other.stdout, other.stderr

    def copy(self) -> Position:
        return Position(self.entries, self.stdout, self.stderr)

    def offset(self, stream: int) -> int:
        return self.stdout if stream == STDOUT else self.stderr


@dataclass(frozen=True, slots=True)
class Moved:
    """`length` 0: the pipe has ended. `is_kept`: the bytes are in the file; on a full disk they are dropped."""

    length: int
    is_kept: bool = True


@dataclass(frozen=True, slots=True)
class Move:
    """From a readable pipe into a stream's file, at `place`; `file` -1 = it can't be made."""

    pipe: int
    stream: int
    file: int
    place: int
    size: int

    def perform(self) -> Moved:
        """In a thread: the kernel locks a pipe for as long as its writer waits in a splice for his own source.

        On a full disk the bytes are dropped, so that the container goes on (as dockerd does).
        """
        try:
            if not _bytes_in(self.pipe):
                return Moved(0)  # readable and empty is the end
            try:
                return Moved(os.splice(self.pipe, self.file, self.size, offset_dst=self.place))
            except OSError:
                return Moved(len(os.read(self.pipe, _SPLICE_SIZE)), is_kept=False)
        finally:
            os.close(self.pipe)


def _bytes_in(pipe: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"))[0])


class Segment:
    """The files of one folder, made at the first byte; `end` is where the next byte goes."""

    def __init__(self, directory: str, base: Position) -> None:
        self.directory = directory
        self.base = base
        self.end = base.copy()
        self._files: dict[str, int] = {}

    @property
    def size(self) -> int:
        """Bytes on disk."""
        base, end = self.base, self.end
        return end.stdout - base.stdout + end.stderr - base.stderr + (end.entries - base.entries) * ENTRY_SIZE

    # -- writing

    def plan_move(self, pipe: int, stream: int, limit: int) -> Move:
        """Of up to `limit` bytes. MUST be followed by `note`, and no other of the same stream begin before."""
        try:
            file = self._file(_NAMES[stream])
        except OSError:
            file = -1
        return Move(os.dup(pipe), stream, file, self._place(stream, self.end), min(limit, _SPLICE_SIZE))

    def append(self, data: bytes, stream: int) -> None:
        """Write bytes that come from a terminal, which can't be spliced into a file."""
        try:
            written = os.pwrite(self._file(_NAMES[stream]), data, self._place(stream, self.end))
        except OSError:
            return
        self.note(stream, written)

    def note(self, stream: int, length: int) -> None:
        """That so many bytes have come, and are in the file."""
        now = time.time_ns()
        place = (self.end.entries - self.base.entries) * ENTRY_SIZE
        try:
            os.pwrite(self._file("index"), _ENTRY.pack(stream, length, now), place)
        except OSError:  # a full disk: bytes without an entry would come again at the next start
            os.ftruncate(self._file(_NAMES[stream]), self._place(stream, self.end))
            return
        self.end.pass_over(Chunk(stream, length, now, 0))

    def _place(self, stream: int, position: Position) -> int:
        """Where in the stream's file."""
        return position.offset(stream) - self.base.offset(stream)

    # -- reading

    def holds(self, stream: int, offset: int) -> bool:
        return self.base.offset(stream) <= offset < self.end.offset(stream)

    def chunks(self, position: Position, limit: int) -> list[Chunk]:
        """Up to `limit` chunks from `position` on, which lies in this stretch."""
        walker, chunks = position.copy(), []
        for stream, length, time_ns in self._entries(position.entries, min(self.end.entries, position.entries + limit)):
            chunk = Chunk(stream, length, time_ns, walker.offset(stream))
            walker.pass_over(chunk)
            chunks.append(chunk)
        return chunks

    def pass_older(self, position: Position, since_ns: int, limit: int) -> bool:
        """Move over up to `limit` chunks that came before `since_ns`; False where none is moved over.

        Whole columns of the index at once: a container that logs for days has millions of chunks.
        """
        count = min(limit, self.end.entries - position.entries)
        place = (position.entries - self.base.entries) * ENTRY_SIZE
        index = memoryview(self._read("index", count * ENTRY_SIZE, place))
        times = index.cast("Q")[1::2]
        old = next((number for number, time_ns in enumerate(times) if time_ns >= since_ns), len(times))
        fields = index[: old * ENTRY_SIZE].cast("I")  # in the file's order of bytes: that of all our architectures
        lengths, of_stdout = fields[1::4], map(STDOUT.__eq__, fields[::4])
        stdout = sum(compress(lengths, of_stdout))
        position.move_to(
            Position(position.entries + old, position.stdout + stdout, position.stderr + sum(lengths) - stdout)
        )
        return old > 0

    def chunks_before(self, position: Position, limit: int) -> list[Chunk]:
        """Up to `limit` chunks of this stretch that lie before `position`, the nearest first."""
        first = max(self.base.entries, position.entries - limit)
        offsets = {STDOUT: position.stdout, STDERR: position.stderr}
        chunks = []
        for stream, length, time_ns in reversed(list(self._entries(first, position.entries))):
            offsets[stream] -= length
            chunks.append(Chunk(stream, length, time_ns, offsets[stream]))
        return chunks

    def _entries(self, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        if first >= last:
            return iter(())
        place = (first - self.base.entries) * ENTRY_SIZE
        return _ENTRY.iter_unpack(self._read("index", (last - first) * ENTRY_SIZE, place))

    def read(self, chunk: Chunk) -> bytes:
        return self._read(_NAMES[chunk.stream], chunk.length, chunk.offset - self.base.offset(chunk.stream))

    def _read(self, name: str, length: int, place: int) -> bytes:
        """Nothing where the file is gone with its container: a reader never makes one."""
        fd = self._find(name)
        return b"" if fd is None else os.pread(fd, length, place)

    # -- files

    def close(self) -> None:
        """Close the files; they are opened again when needed."""
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()

    def remove(self) -> None:
        """Its files, and its folder where nothing else is in it. Idempotent."""
        self.close()
        for name in ("index", *_NAMES.values()):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.directory}/{name}")
        with contextlib.suppress(OSError):
            os.rmdir(self.directory)

    def open_files(self) -> None:
        """So that they can be read though their folder be removed."""
        for name in ("index", *_NAMES.values()):
            self._find(name)

    def _find(self, name: str) -> int | None:
        """The file's descriptor, None where there is no such file."""
        if name not in self._files:
            try:
                self._files[name] = os.open(f"{self.directory}/{name}", os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
        return self._files[name]

    def _file(self, name: str) -> int:
        """The file's descriptor, made where there is none."""
        fd = self._find(name)
        if fd is None:
            os.makedirs(self.directory, mode=0o710, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            fd = self._files[name] = os.open(f"{self.directory}/{name}", flags, 0o640)
        return fd

    def recover(self) -> None:
        """After a power cut the index may end in zeros, or tell of bytes that never got to the disk."""
        sizes = {stream: self._size(name) for stream, name in _NAMES.items()}
        for stream, length, time_ns in self._indexed():
            if self._place(stream, self.end) + length > sizes.get(stream, -1):
                break
            self.end.pass_over(Chunk(stream, length, time_ns, 0))
        for stream, size in sizes.items():
            if size > self._place(stream, self.end):
                self.note(stream, size - self._place(stream, self.end))
        self.close()

    def _size(self, name: str) -> int:
        fd = self._find(name)
        return 0 if fd is None else os.fstat(fd).st_size

    def _indexed(self) -> Iterator[tuple[int, int, int]]:
        for start in range(0, self._size("index"), ENTRY_SIZE << 16):
            block = self._read("index", ENTRY_SIZE << 16, start)
            yield from _ENTRY.iter_unpack(block[: len(block) // ENTRY_SIZE * ENTRY_SIZE])
