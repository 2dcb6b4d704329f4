"""Lines of a container's output: `logs` with its tail, since, until and follow."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator

from guest_agent.engine.output import STDERR, STDOUT, Chunk, OutputLog, Position
from guest_agent.engine.requests import LogLine, LogRequest


class LineSplitter:
    """Cuts chunks into lines, stream by stream; a line has the time at which it began."""

    def __init__(self) -> None:
        self._rest: dict[int, tuple[bytes, int]] = {}

    def feed(self, stream: int, time_ns: int, data: bytes) -> Iterator[LogLine]:
        """The lines that `data` completes."""
        rest, began = self._rest.pop(stream, (b"", time_ns))
        text = rest + data
        lines = text.splitlines(keepends=True) if b"\r" not in text else _split_at_newlines(text)
        for line in lines:
            if line.endswith(b"\n"):
                yield LogLine(stream, began, line)
                began = time_ns
            else:
                self._rest[stream] = (line, began)

    def finish(self) -> Iterator[LogLine]:
        """What ended without a newline."""
        for stream, (rest, began) in sorted(self._rest.items(), key=lambda item: item[1][1]):
            yield LogLine(stream, began, rest)
        self._rest.clear()


def _split_at_newlines(data: bytes) -> list[bytes]:
    """bytes.splitlines also cuts at a carriage return, which a terminal's output is full of."""
    pieces = data.split(b"\n")
    lines = [piece + b"\n" for piece in pieces[:-1]]
    return lines + [pieces[-1]] if pieces[-1] else lines


async def read_lines(log: OutputLog, request: LogRequest, ended: asyncio.Event) -> AsyncIterator[LogLine]:
    """The lines that `request` asks for. With `follow` it goes on until `ended` is set and all is read."""
    stop = log.snapshot()
    position = _find_start(log, request.tail, _wanted_streams(request))
    splitter = LineSplitter()
    for line in _last(_past_lines(log, splitter, position, stop, request), request.tail):
        yield line
    if request.follow:
        async for chunk in _follow(log, position, ended, request.until_ns):
            for line in _lines_of(log, splitter, chunk, request):
                yield line
        for line in _unfinished(splitter, request):
            yield line


def _past_lines(
    log: OutputLog, splitter: LineSplitter, position: Position, stop: Position, request: LogRequest
) -> Iterator[LogLine]:
    for chunk in _walk(log, position, stop):
        yield from _lines_of(log, splitter, chunk, request)
    if not request.follow:
        yield from _unfinished(splitter, request)


def _unfinished(splitter: LineSplitter, request: LogRequest) -> Iterator[LogLine]:
    return (line for line in splitter.finish() if _fits(line, request))


def _wanted_streams(request: LogRequest) -> set[int]:
    return {stream for stream, wanted in ((STDOUT, request.stdout), (STDERR, request.stderr)) if wanted}


def _lines_of(log: OutputLog, splitter: LineSplitter, chunk: Chunk, request: LogRequest) -> Iterator[LogLine]:
    if chunk.stream in _wanted_streams(request):
        for line in splitter.feed(chunk.stream, chunk.time_ns, log.read(chunk)):
            if _fits(line, request):
                yield line


def _fits(line: LogLine, request: LogRequest) -> bool:
    return line.time_ns >= request.since_ns and (not request.until_ns or line.time_ns <= request.until_ns)


def _last(lines: Iterator[LogLine], tail: int | None) -> Iterator[LogLine]:
    return lines if tail is None else iter(deque(lines, maxlen=tail))


def _walk(log: OutputLog, position: Position, stop: Position) -> Iterator[Chunk]:
    """Chunks up to `stop`, moving `position` along."""
    while position.entries < stop.entries:
        for chunk in log.chunks(position, min(256, stop.entries - position.entries)):
            position.pass_over(chunk)
            yield chunk


def _find_start(log: OutputLog, tail: int | None, streams: set[int]) -> Position:
    """Where to begin so that the last `tail` lines are whole: found from the end, without reading the beginning."""
    if tail is None:
        return Position(0, 0, 0)
    position = log.snapshot()
    newlines = 0
    while chunks := log.chunks_before(position):
        for chunk in chunks:
            if newlines >= tail and all(_at_line_start(log, position, stream) for stream in streams):
                return position
            position = _before(position, chunk)
            if chunk.stream in streams:
                newlines += log.read(chunk).count(b"\n")
    return position


def _at_line_start(log: OutputLog, position: Position, stream: int) -> bool:
    """A line that began before `position` may end long after it, behind many lines of the other stream."""
    offset = position.offset(stream)
    return offset == 0 or log.read(Chunk(stream, 1, 0, offset - 1)) == b"\n"


def _before(position: Position, chunk: Chunk) -> Position:
    if chunk.stream == STDOUT:
        return Position(position.entries - 1, chunk.offset, position.stderr)
    return Position(position.entries - 1, position.stdout, chunk.offset)


async def _follow(log: OutputLog, position: Position, ended: asyncio.Event, until_ns: int) -> AsyncIterator[Chunk]:
    """Chunks as they come, until `ended` is set and all are read, or it is `until_ns` (0 = never)."""
    changed = asyncio.Event()
    log.listen(changed.set)
    try:
        while True:
            changed.clear()
            finished = ended.is_set()
            for chunk in _walk(log, position, log.snapshot()):
                yield chunk
            if finished:
                return
            remaining = (until_ns - time.time_ns()) / 1e9 if until_ns else None
            try:
                await asyncio.wait_for(changed.wait(), remaining)
            except TimeoutError:
                return
    finally:
        log.unlisten(changed.set)
