"""A client tied to a process's streams, whether container or exec, whatever the protocol that it speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from guest_agent.engine.detach import DetachScanner, parse_detach_keys
from guest_agent.engine.finished_lines import FinishedLines
from guest_agent.engine.live import Run
from guest_agent.engine.output import STDERR, STDOUT, OutputLog, Position
from guest_agent.engine.requests import AttachRequest

#: At most this much is read from a log at once.
_READ_LIMIT = 1 << 20


class OutputSource(Protocol):
    """Where an attachment's output comes from."""

    async def read(self) -> tuple[int, bytes] | None:
        """(1 or 2, bytes), or None at the end."""

    def close(self) -> None:
        """Nothing more is wanted; idempotent."""


class LogSource:
    """Output of a container from its log: from now on, or from the beginning."""

    def __init__(
        self,
        log: OutputLog,
        run: Run,
        from_start: bool,
        streams: set[int],
        follow: bool = True,
        past_lines: FinishedLines | None = None,
    ) -> None:
        """`past_lines`: what was printed before is a log, to which an unfinished line doesn't belong yet."""
        self._log = log
        self._run = run
        self._streams = streams
        self._position = Position(0, 0, 0) if from_start else log.snapshot()
        self._now = log.snapshot()
        self._follow = follow
        self._past_lines = past_lines
        log.hold(self._position)
        self._changed = asyncio.Event()
        log.listen(self._changed.set)

    async def read(self) -> tuple[int, bytes] | None:
        while True:
            self._changed.clear()
            ended = self._run.output_ended.is_set() or not self._follow
            found = self._next()
            if found is not None:
                return found
            if ended:
                return None
            await self._changed.wait()

    def _next(self) -> tuple[int, bytes] | None:
        """The next chunks of one stream, joined."""
        while chunks := self._log.chunks(self._position, self._limit()):
            stream = chunks[0].stream
            pieces, size = [], 0
            for chunk in chunks:
                if chunk.stream != stream or (size and size + chunk.length > _READ_LIMIT):
                    break
                self._position.pass_over(chunk)
                if stream in self._streams:
                    pieces.append(self._log.read(chunk))
                    size += chunk.length
            if pieces and (data := self._shown(stream, b"".join(pieces))):
                return stream, data
        return None

    def _shown(self, stream: int, data: bytes) -> bytes:
        if self._past_lines is None or self._position.entries > self._now.entries:
            return data
        return self._past_lines.of(stream, data)

    def _limit(self) -> int:
        """What was printed up to now, then, if it is followed, the rest: without, that might never end."""
        past = self._now.entries - self._position.entries
        return min(32, past) if past > 0 or not self._follow else 32

    def close(self) -> None:
        self._log.release(self._position)
        self._log.unlisten(self._changed.set)


class Attachment:
    """One client. It may read and write concurrently, and vanish at any time."""

    def __init__(
        self,
        source: OutputSource,
        run: Run,
        request: AttachRequest,
        tty: bool,
        stdin_ends_with_client: bool,
        release_stdin: Callable[[], None],
        tell_detached: Callable[[], None],
    ) -> None:
        """`release_stdin` makes the keeper forget its copy of the pipe, so that closing ours is an end of file;
        `tell_detached` is called when the client has typed the detach keys.
        """
        self.tty = tty
        self.detached = False
        self._source = source
        self._run = run
        self._request = request
        self._stdin_ends_with_client = stdin_ends_with_client
        self._release_stdin = release_stdin
        self._tell_detached = tell_detached
        self._scanner = DetachScanner(parse_detach_keys(request.detach_keys)) if tty else None
        self._leaving = asyncio.Event()

    async def read(self) -> tuple[int, bytes] | None:
        """The next output as (1 or 2, bytes); None when it has ended or the client has detached."""
        if self.detached:
            return None
        if self._scanner is None:
            return await self._source.read()
        return await _unless(self._leaving, self._source.read)

    async def write(self, data: bytes) -> None:
        """To the process's input, once it runs; waits while the pipe is full."""
        if not self._request.stdin or self.detached:
            return
        if self._scanner is not None:
            data, self.detached = self._scanner.feed(data)
        await self._run.started.wait()
        await self._run.stdio.write(data)
        if self.detached:
            self._leaving.set()
            self._tell_detached()

    async def close_stdin(self) -> None:
        """The client's input has ended. The process learns of it where the pipe was made for one client."""
        await self._run.started.wait()
        if self._request.stdin and self._stdin_ends_with_client and not self.tty:
            async with self._run.stdio.stdin_lock:
                pass  # after all that was written before
            self._run.stdio.close_stdin()
            self._release_stdin()

    async def wait_exit(self) -> int:
        """The exit code, once the process has ended and its record says so."""
        return await asyncio.shield(self._run.exited)

    def resize(self, rows: int, columns: int) -> None:
        self._run.stdio.resize(rows, columns)

    def close(self) -> None:
        """The client is gone; the process goes on, without input if that was this client's alone."""
        self._source.close()
        self._leaving.set()
        if not self._request.stdin or not self._stdin_ends_with_client or self.tty:
            return
        if not self._run.started.is_set():
            self._run.stdin_abandoned = True
        elif self._run.stdio.stdin >= 0:
            self._run.stdio.close_stdin()
            self._release_stdin()


async def _unless(
    leaving: asyncio.Event, read: Callable[[], Awaitable[tuple[int, bytes] | None]]
) -> tuple[int, bytes] | None:
    reading = asyncio.ensure_future(read())
    left = asyncio.ensure_future(leaving.wait())
    try:
        await asyncio.wait((reading, left), return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else None
    finally:
        left.cancel()
        reading.cancel()


def wanted_streams(request: AttachRequest) -> set[int]:
    """1 and 2, as far as the client wants them."""
    return {stream for stream, wanted in ((STDOUT, request.stdout), (STDERR, request.stderr)) if wanted}
