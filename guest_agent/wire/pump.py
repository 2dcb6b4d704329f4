"""Bytes between a stream of the channel and a pair of descriptors, with half-close and back-pressure. Both ends use it.

The descriptors are read when the channel has room for what they give, straight into its output buffer; what comes is
written straight out of its input buffer. Only what a slow reader doesn't take is copied, and the window bounds that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from guest_agent.wire.channel_stream import StreamEnd, nothing
from guest_agent.wire.errors import HostvmError, Unavailable


class Endpoint(Protocol):
    """What a pump serves: a socket, or the two pipes of a process. Nothing here blocks."""

    def take(self, room: memoryview) -> int:
        """Reads into `room`; 0 at the end. BlockingIOError where there is nothing yet."""

    def give(self, view: memoryview) -> int:
        """Writes some of it. BlockingIOError where nothing can be written yet."""

    def watch(self, reading: bool, writing: bool) -> None:
        """What the pump wants to hear of, by `Pump.readable` and `Pump.writable_now`."""

    def half_close(self) -> None:
        """Nothing more will be given."""

    def close(self, abort: bool) -> None:
        """`abort`: by a reset, where there is such a thing."""


class Pump:
    """Receiver and source of one stream. `ended` is called once, with the closing message or the error."""

    def __init__(
        self,
        endpoint: Endpoint,
        ended: Callable[[dict[str, object] | HostvmError], None],
    ) -> None:
        self._endpoint = endpoint
        self._take: Callable[[memoryview], int] = endpoint.take
        self._give: Callable[[memoryview], int] = endpoint.give
        self._ended = ended
        self._backlog = bytearray()
        self._reading = self._writing = False
        self._source_ended = self._sink_failed = self._is_over = False
        self._message: dict[str, object] | None = None
        self.stream: StreamEnd
        #: What the peer is told at the end of what is read here.
        self.closing: dict[str, object] = {}

    def begin(self, stream: StreamEnd) -> None:
        """Call it when this is the stream's receiver."""
        self.stream = stream
        if stream.is_open and not self._is_over:
            stream.pull_from(self.source)
            self._watch(True, self._writing)

    # -- the descriptors

    def readable(self) -> None:
        """There is something to read. Where it can't leave at present, don't tell again."""
        stream = self.stream
        if stream.scheduled or not stream.credit or self._source_ended:
            self._watch(False, self._writing)
        stream.schedule()

    def source(self, room: memoryview) -> int:
        try:
            count = self._take(room)
        except BlockingIOError:
            count = -1
        except OSError as error:
            self._fail(error)
            return 0
        if count == 0:
            self._end_source()
            return 0
        if not self._reading:
            self._watch(True, self._writing)
        return max(count, 0)

    def writable_now(self) -> None:
        """The sink takes bytes again."""
        if not self._writing:
            return
        try:
            count = self._give(memoryview(self._backlog))
        except BlockingIOError:
            return
        except OSError:
            count = len(self._backlog)
            self._give_up_sink()
        del self._backlog[:count]
        self.stream.consumed(count)
        if not self._backlog and not self._is_over:
            self._watch(self._reading, False)
            if self._message is not None:
                self._close_sink()

    # -- the stream's receiver

    def accepted(self) -> None: ...

    def writable(self) -> None: ...

    def data(self, view: memoryview) -> int:
        if self._backlog:
            self._backlog += view
            return 0
        try:
            count = self._give(view)
        except BlockingIOError:
            count = 0
        except OSError:
            self._give_up_sink()
            return len(view)
        if count < len(view):
            self._backlog += view[count:]
            self._watch(self._reading, True)
        return count

    def eof(self, message: dict[str, object]) -> None:
        self._message = message
        if not self._backlog:
            self._close_sink()

    def reset(self, error: HostvmError) -> None:
        """What came before the peer's end of file is still delivered."""
        if self._message is None:
            self._finish(error)
        elif self._backlog:
            self._source_ended = True
            self._watch(False, True)
        else:
            self._finish(self._message)

    def abort(self) -> None:
        """Give up both sides, from outside."""
        self.stream.reset()
        self._finish(Unavailable("given up"))

    # -- ends

    def _end_source(self) -> None:
        """Where nobody reads what the peer sends either, the peer has to hear of that as well."""
        self._source_ended = True
        self.stream.pull_from(nothing)
        self._watch(False, self._writing)
        self.stream.finish(self.closing)
        if self._sink_failed:
            self.stream.reset()
            self._finish({})
        else:
            self._finish_if_both_ended()

    def _give_up_sink(self) -> None:
        """Nobody reads any more; what the other direction still has to say counts all the same."""
        self._sink_failed = True
        self._give = len
        if self._source_ended:
            self.stream.reset()
            self._finish({})

    def _close_sink(self) -> None:
        self._endpoint.half_close()
        self._finish_if_both_ended()

    def _finish_if_both_ended(self) -> None:
        if self._source_ended and self._message is not None and not self._backlog:
            self._finish(self._message)

    def _fail(self, error: OSError) -> None:
        failure = Unavailable(f"the connection broke: {error.strerror}")
        self.stream.reset(failure)
        self._finish(failure)

    def _finish(self, outcome: dict[str, object] | HostvmError) -> None:
        if not self._is_over:
            self._is_over = True
            self._backlog.clear()
            self._watch(False, False)
            self._endpoint.close(isinstance(outcome, HostvmError))
            self._ended(outcome)

    def _watch(self, reading: bool, writing: bool) -> None:
        if (reading, writing) != (self._reading, self._writing):
            self._reading, self._writing = reading, writing
            self._endpoint.watch(reading, writing)
