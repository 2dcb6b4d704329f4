"""Lines of a container's output: `logs` with its tail, since, until and follow.

Lines travel in blocks, as they lie in the log: whoever shows a million of them handles some hundred blocks. What is
held in memory is a batch of chunks, and the beginning of a line whose end hasn't come; of a line that is longer than
`_LONGEST` the beginning is given before its end is known. Others have their turn after each batch, whether or not it
holds anything that is wanted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace

from guest_agent.engine.output import STDERR, STDOUT, Chunk, OutputLog, Position
from guest_agent.engine.requests import LogLines, LogRequest

#: Bytes of an unfinished line that are held back.
_LONGEST = 64 << 10
#: Chunks of a batch, and bytes that are read at once.
_BATCH, _READ_SIZE = 256, 1 << 20


class LineSplitter:
    """Cuts chunks at the last newline, stream by stream; a line has the time at which it began."""

    def __init__(self) -> None:
        self._rest: dict[int, LogLines] = {}

    @property
    def pending(self) -> bool:
        """A line has begun and not ended."""
        return bool(self._rest)

    def begin_inside(self, stream: int) -> None:
        """The first line of the stream began long ago, and isn't wanted."""
        self._rest[stream] = LogLines(stream, 0, b"", begins=False)

    def feed(self, stream: int, time_ns: int, data: bytes) -> Iterator[LogLines]:
        """The lines that `data` completes, and the beginning of a very long one."""
        rest = self._rest.pop(stream, None)
        if rest is not None:
            head, newline, data = data.partition(b"\n")
            begun = replace(rest, data=rest.data + head + newline)
            if not newline:
                yield from self._keep(begun)
                return
            yield begun
        end = data.rfind(b"\n") + 1
        if end:
            yield LogLines(stream, time_ns, data[:end])
        if end < len(data):
            yield from self._keep(LogLines(stream, time_ns, data[end:]))

    def _keep(self, begun: LogLines) -> Iterator[LogLines]:
        if len(begun.data) > _LONGEST:
            yield begun
            begun = replace(begun, data=b"", begins=False)
        self._rest[begun.stream] = begun

    def finish(self) -> Iterator[LogLines]:
        """What ended without a newline."""
        for rest in sorted(self._rest.values(), key=lambda one: one.time_ns):
            if rest.data:
                yield rest
        self._rest.clear()


async def read_lines(log: OutputLog, request: LogRequest, ended: asyncio.Event) -> AsyncIterator[LogLines]:
    """The lines that `request` asks for. With `follow` it goes on until `ended` is set and all is read."""
    stop = log.snapshot()
    reader = _Reader(log, request)
    await reader.find_beginning()
    async for lines in reader.past(stop):
        yield lines
    if request.follow:
        async for batch in follow_chunks(log, reader.position, ended, request.until_ns):
            for lines in reader.lines_of(batch):
                yield lines
            await asyncio.sleep(0)
        for lines in reader.unfinished():
            yield lines


class _Reader:
    """One request on its way through the log."""

    def __init__(self, log: OutputLog, request: LogRequest) -> None:
        self._log = log
        self._request = request
        self._streams = {stream for stream, wanted in ((STDOUT, request.stdout), (STDERR, request.stderr)) if wanted}
        self._by_time = bool(request.timestamps or request.since_ns or request.until_ns)
        self._splitter = LineSplitter()
        self._newest = 0  #: when the last chunk came that was looked at
        self._surplus = 0  #: lines at the beginning that are more than the tail
        self.position = Position(0, 0, 0)

    async def find_beginning(self) -> None:
        """Go to the first chunk that may hold what is wanted."""
        request = self._request
        if request.tail is not None:
            found = await _find_tail(self._log, request.tail, self._streams, not request.follow)
            self.position, self._surplus = found
        elif request.since_ns:
            await self._pass_old(request.since_ns)

    async def past(self, stop: Position) -> AsyncIterator[LogLines]:
        """What the log holds up to `stop`."""
        while self.position.entries < stop.entries and not self._is_late():
            chunks = self._log.chunks(self.position, min(_BATCH, stop.entries - self.position.entries))
            if not chunks:
                break
            for chunk in chunks:
                self.position.pass_over(chunk)
            for lines in self.lines_of(chunks):
                yield lines
            await asyncio.sleep(0)
        if not self._request.follow:
            for lines in self.unfinished():
                yield lines

    def lines_of(self, chunks: list[Chunk]) -> Iterator[LogLines]:
        for chunk in chunks if self._by_time else _joined(chunks):
            if chunk.stream in self._streams:
                for lines in self._splitter.feed(chunk.stream, chunk.time_ns, self._log.read(chunk)):
                    yield from self._wanted(lines, lines.data.count(b"\n"))
            self._newest = chunk.time_ns

    def unfinished(self) -> Iterator[LogLines]:
        """The last lines, which have no newline."""
        for lines in self._splitter.finish():
            yield from self._wanted(lines, 1)

    def _wanted(self, lines: LogLines, count: int) -> Iterator[LogLines]:
        if self._surplus:
            lines, self._surplus = _without_first(lines, count, self._surplus)
        if lines.data and self._fits(lines.time_ns):
            yield lines

    def _fits(self, time_ns: int) -> bool:
        until = self._request.until_ns
        return time_ns >= self._request.since_ns and (not until or time_ns <= until)

    def _is_late(self) -> bool:
        """Nothing that is still to come began in time."""
        return 0 < self._request.until_ns < self._newest and not self._splitter.pending

    async def _pass_old(self, since_ns: int) -> None:
        """Over all chunks that came before `since`, without reading them."""
        passed = True
        while passed:
            passed = self._log.pass_older(self.position, since_ns)
            await asyncio.sleep(0)
        self._begin_inside()

    def _begin_inside(self) -> None:
        for stream in self._streams:
            if not _at_line_start(self._log, self.position, stream):
                self._splitter.begin_inside(stream)


def _without_first(lines: LogLines, count: int, surplus: int) -> tuple[LogLines, int]:
    """The block without its first `surplus` of `count` lines, and how many are still to be left out."""
    if count <= surplus:
        return replace(lines, data=b""), surplus - count
    start = 0
    for _ in range(surplus):
        start = lines.data.index(b"\n", start) + 1
    return replace(lines, data=lines.data[start:], begins=True), 0


def _joined(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Chunks of one stream that follow each other as one, where nobody asks for their times."""
    whole: Chunk | None = None
    for chunk in chunks:
        if whole is None:
            whole = chunk
        elif whole.stream == chunk.stream and whole.length + chunk.length <= _READ_SIZE:
            whole = replace(whole, length=whole.length + chunk.length)
        else:
            yield whole
            whole = chunk
    if whole is not None:
        yield whole


async def _find_tail(log: OutputLog, tail: int, streams: set[int], with_unfinished: bool) -> tuple[Position, int]:
    """Where to begin so that the last `tail` lines are whole, and how many lines too many come from there.

    Found from the end, without reading the beginning.
    """
    position = log.snapshot()
    lines = 0
    seen: set[int] = set()
    while chunks := log.chunks_before(position):
        for chunk in chunks:
            if lines >= tail and all(_at_line_start(log, position, stream) for stream in streams):
                return position, lines - tail
            position = _before(position, chunk)
            if chunk.stream in streams:
                data = log.read(chunk)
                lines += data.count(b"\n")
                lines += with_unfinished and chunk.stream not in seen and not data.endswith(b"\n")
                seen.add(chunk.stream)
        await asyncio.sleep(0)
    return position, max(0, lines - tail)


def _at_line_start(log: OutputLog, position: Position, stream: int) -> bool:
    """A line that began before `position` may end long after it, behind many lines of the other stream."""
    offset = position.offset(stream)
    return offset == 0 or log.read(Chunk(stream, 1, 0, offset - 1)) in (b"\n", b"")


def _before(position: Position, chunk: Chunk) -> Position:
    if chunk.stream == STDOUT:
        return Position(position.entries - 1, chunk.offset, position.stderr)
    return Position(position.entries - 1, position.stdout, chunk.offset)


async def follow_chunks(
    log: OutputLog, position: Position, ended: asyncio.Event, until_ns: int = 0, limit: int = _BATCH
) -> AsyncIterator[list[Chunk]]:
    """Up to `limit` chunks at once, until `ended` is set and all are read, or it is `until_ns` (0 = never).

    `position` is already behind those that are given: whoever holds it reads them before he waits for anything.
    """
    changed = asyncio.Event()
    log.listen(changed.set)
    try:
        while True:
            changed.clear()
            finished = ended.is_set()
            while chunks := log.chunks(position, limit):
                for chunk in chunks:
                    position.pass_over(chunk)
                yield chunks
            if finished:
                return
            remaining = (until_ns - time.time_ns()) / 1e9 if until_ns else None
            try:
                await asyncio.wait_for(changed.wait(), remaining)
            except TimeoutError:
                return
    finally:
        log.unlisten(changed.set)
