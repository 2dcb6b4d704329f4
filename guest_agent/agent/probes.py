"""Services that measure the channel itself: echo, sink and source."""

from __future__ import annotations

from guest_agent.wire.channel_receivers import Discarding, Ended
from guest_agent.wire.channel_stream import StreamEnd


class Echo(Ended):
    """Sends back what comes, and takes more only as that leaves."""

    def __init__(self, stream: StreamEnd) -> None:
        self._stream = stream
        self._held = bytearray()
        self._ended = False
        stream.source = self._source

    def data(self, view: memoryview) -> int:
        self._held += view
        self._stream.schedule()
        return 0

    def eof(self, message: dict[str, object]) -> None:
        self._ended = True
        self._finish_if_empty()

    def _source(self, room: memoryview) -> int:
        count = min(len(room), len(self._held))
        room[:count] = self._held[:count]
        del self._held[:count]
        self._stream.consumed(count)
        self._finish_if_empty()
        return count

    def _finish_if_empty(self) -> None:
        if self._ended and not self._held:
            self._stream.finish()


class Sink(Discarding):
    """Takes everything, and ends when the peer does."""

    def __init__(self, stream: StreamEnd) -> None:
        self._stream = stream

    def eof(self, message: dict[str, object]) -> None:
        self._stream.finish()


class Source(Sink):
    """Sends for ever, until the peer ends or resets."""

    def __init__(self, stream: StreamEnd) -> None:
        super().__init__(stream)
        stream.source = len  # whatever is in the buffer will do
        stream.schedule()

    def eof(self, message: dict[str, object]) -> None:
        self._stream.source = lambda _room: 0
        self._stream.finish()
