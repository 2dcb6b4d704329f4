"""A stream of the channel for code that awaits: read, readline, write, drain."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from guest_agent.wire.channel_stream import LOW_MARK, StreamEnd
from guest_agent.wire.errors import HostvmError, PeerMisbehaved, Unavailable
from guest_agent.wire.pump import Pump

#: A line of a protocol of ours is shorter.
_LONGEST_LINE = 64 << 10
#: `drain` waits while more than this is queued.
_HIGH_MARK = 2 * LOW_MARK


class Stream:
    """One stream. Reading is for one task at a time, so is draining."""

    def __init__(self, request: dict[str, object]) -> None:
        self.request = request
        #: The closing message of the peer's end: {"exit": 3} for a command; {} before, and where there is none.
        self.message: dict[str, object] = {}
        self.receiver = _Inbox(self)
        self._end: StreamEnd
        self._buffer = bytearray()
        self._accepted = self._ended = False
        self._error: HostvmError | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def queued(self) -> int:
        """Bytes written that haven't left."""
        return self._end.queued

    async def read(self, limit: int = 65536) -> bytes:
        """Some bytes, b"" at the peer's end of file; raises the HostvmError of a reset."""
        while not self._buffer and not self._ended:
            await self._wait_news()
        return self._take(min(limit, len(self._buffer)))

    async def readline(self) -> bytes:
        """A line with its end, what there is at the end of file. PeerMisbehaved where it is longer than 64 KiB."""
        seen = 0
        while (at := self._buffer.find(b"\n", seen)) < 0 and not self._ended:
            seen = len(self._buffer)
            if seen > _LONGEST_LINE:
                self.reset()
                raise PeerMisbehaved("a line that is too long")
            await self._wait_news()
        return self._take(at + 1 if at >= 0 else len(self._buffer))

    def write(self, data: bytes) -> None:
        """Queues all of it. Raises the HostvmError of a reset."""
        if self._error is not None:
            raise self._error
        self._end.write(data)

    async def drain(self) -> None:
        """Waits while the peer doesn't take what was written."""
        while self._end.queued > _HIGH_MARK:
            self._room.clear()
            await self._room.wait()
        if self._error is not None:
            raise self._error

    def write_eof(self, message: dict[str, object] | None = None) -> None:
        """Half-close: nothing more will be written."""
        self._end.finish(message)

    def reset(self, error: HostvmError | None = None) -> None:
        """End both directions; what is queued is dropped."""
        self._end.reset(error)
        self.failed(error or Unavailable("the stream was closed"))

    def close(self) -> None:
        """What is queued is still sent; what still comes is thrown away."""
        self._end.finish()
        self._end.discard()
        self._end.consumed(len(self._buffer))
        self._buffer.clear()
        self.failed(Unavailable("the stream was closed"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.reset(error if isinstance(error, HostvmError) else None)

    # -- for the channel

    def begin(self, end: StreamEnd) -> None:
        self._end = end

    async def wait_accepted(self) -> None:
        while not self._accepted:
            await self._wait_news()

    def hand_over(self, pump: Pump) -> None:
        """The pump goes on with it, beginning with what has been received and not read."""
        if self._error is not None:
            pump.reset(self._error)
            return
        end, held = self._end, bytes(self._buffer)
        end.receiver = pump
        pump.begin(end)
        if held:
            end.consumed(pump.data(memoryview(held)))
        if self._ended:
            pump.eof(self.message)

    def heard(self, data: memoryview | bytes = b"", *, accepted: bool = False, ended: bool = False) -> None:
        self._buffer += data
        self._accepted |= accepted
        self._ended |= ended
        self._news.set()

    def failed(self, error: HostvmError) -> None:
        """It is over; what has come before can still be read."""
        self._error = self._error or error
        self._news.set()
        self._room.set()

    def drained(self) -> None:
        self._room.set()

    async def _wait_news(self) -> None:
        if self._error is not None:
            raise self._error
        self._news.clear()
        await self._news.wait()

    def _take(self, count: int) -> bytes:
        if count == len(self._buffer):
            taken = bytes(self._buffer)
            self._buffer.clear()
        else:
            taken = bytes(memoryview(self._buffer)[:count])
            del self._buffer[:count]
        self._end.consumed(count)
        return taken


class _Inbox:
    """The stream's receiver: what comes stays in the buffer until it is read, and is paid for then."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def accepted(self) -> None:
        self._stream.heard(accepted=True)

    def data(self, view: memoryview) -> int:
        self._stream.heard(view)
        return 0

    def eof(self, message: dict[str, object]) -> None:
        self._stream.message = message
        self._stream.heard(ended=True)

    def reset(self, error: HostvmError) -> None:
        self._stream.failed(error)

    def writable(self) -> None:
        self._stream.drained()
