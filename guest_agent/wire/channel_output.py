"""What goes out over the channel: one buffer, filled by the streams in turn whenever it has left."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from guest_agent.wire.channel_frames import DATA, HEADER, HEADER_SIZE, MARK, MAX_FRAME, MAX_PAYLOAD, OVERHEAD
from guest_agent.wire.channel_stream import StreamEnd

#: A frame smaller than this isn't begun at the end of a full buffer: it would cost more than it carries.
_LEAST_ROOM = 1 << 10

_pack_into = HEADER.pack_into


class Output:
    """`ready`: streams that may have data. `urgent`: streams that owe frames of another kind."""

    def __init__(self, size: int, output_ready: Callable[[], None]) -> None:
        self.ready: deque[StreamEnd] = deque()
        self.urgent: deque[StreamEnd] = deque()
        self._output_ready = output_ready
        self._out = memoryview(bytearray(max(size, MAX_FRAME)))
        self._sent = self._filled = 0
        self._notified = False
        self._is_silent = True
        self._padding_due = 0
        self._session_due: Callable[[], bytes] | None = None

    def notify(self) -> None:
        """Tell the owner of the wire, once, that there is something."""
        if not self._notified:
            self._notified = True
            self._output_ready()

    def output(self, written: int) -> memoryview:
        """The bytes to be written next, empty where there are none, when so many of the last ones have been.

        The view is good until the next call.
        """
        at = self._sent + written
        if at < self._filled:
            self._sent = at
            return self._out[at : self._filled]
        self._sent = 0
        self._filled = at = self._fill() if self.ready or self.urgent or self._session_due else 0
        self._notified = at > 0
        return self._out[:at]

    def forget_streams(self) -> None:
        """What they had to say is void."""
        self.ready.clear()
        self.urgent.clear()

    def say(self, session_frame: Callable[[], bytes], *, then_silent: bool) -> None:
        """A session frame, made when it leaves, instead of one that hasn't left. `then_silent`: no stream may speak."""
        self._session_due = session_frame
        self._is_silent = then_silent
        self.notify()

    def speak(self) -> None:
        """Streams may speak, after the session frame that is due."""
        self._is_silent = False

    def begin_wire(self) -> None:
        """The wire is another one: forget the rest of a half sent frame, and begin with padding."""
        self._sent = self._filled = 0
        self._padding_due = MAX_FRAME

    def _fill(self) -> int:
        if self._session_due:
            return self._fill_session()
        if self._is_silent:
            return 0
        at = self._fill_urgent(0) if self.urgent else 0
        if self.ready:
            at = self._fill_data(at)
            if self.urgent:  # a source has come to its end
                at = self._fill_urgent(at)
        return at

    def _fill_urgent(self, at: int) -> int:
        urgent = self.urgent
        while urgent:
            at = urgent[0].write_pending(self._out, at)
            if urgent[0].owes:
                break
            urgent.popleft()
        return at

    def _fill_data(self, at: int) -> int:
        """A frame of each stream in turn, until the buffer is full or nobody has anything."""
        ready, out = self.ready, self._out
        limit = len(out) - OVERHEAD
        while ready and limit - at >= _LEAST_ROOM:
            stream = ready.popleft()
            stream.scheduled = False
            room = limit - at
            if room > MAX_PAYLOAD:
                room = MAX_PAYLOAD
            if room > stream.credit:
                room = stream.credit
                if not room:
                    continue  # scheduled again when credit comes
            start = at + HEADER_SIZE
            count = stream.source(out[start : start + room])
            if count:
                _pack_into(out, at, DATA, stream.ident, count)
                at = start + count + 1
                out[at - 1] = MARK
                stream.credit -= count
                if count == room and stream.credit and not stream.scheduled:
                    stream.scheduled = True
                    ready.append(stream)
        return at

    def _fill_session(self) -> int:
        if self._padding_due:
            self._out[: self._padding_due] = bytes(self._padding_due)
            filled, self._padding_due = self._padding_due, 0
            return filled
        assert self._session_due is not None
        frame, self._session_due = self._session_due(), None
        self._out[: len(frame)] = frame
        return len(frame)
