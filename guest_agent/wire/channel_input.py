"""What comes over the channel: following frames while both ends are in step, seeking a session frame while not."""

from __future__ import annotations

from typing import Protocol

from guest_agent.wire.channel_frames import (
    CREDIT,
    DATA,
    HEADER,
    HEADER_SIZE,
    KINDS,
    MARK,
    MAX_FRAME,
    MAX_PAYLOAD,
    OVERHEAD,
    PADDING,
    SESSION_FRAME,
    SESSION_KINDS,
)  # fmt: skip
from guest_agent.wire.channel_stream import GRANT, StreamEnd
from guest_agent.wire.errors import PeerMisbehaved

#: Bytes read at most at once, and a frame's rest before them.
_INPUT_SIZE = 128 << 10

_unpack = HEADER.unpack_from


class ChannelViolation(PeerMisbehaved):
    """The peer broke the channel's protocol; every stream is lost and both ends begin anew."""


class Frames(Protocol):
    """Who takes what `Intake` finds. `streams` is one and the same dict for ever."""

    streams: dict[int, StreamEnd]
    #: Frames are followed; else they are skipped.
    is_up: bool

    def sought(self) -> bytes:
        """The beginning of the session frame that ends the skipping; b"": none does."""

    def session_frame(self, kind: int, ident: int, payload: bytes) -> None:
        """A HELLO, FREEZE or FROZEN."""

    def stream_frame(self, kind: int, ident: int, payload: bytes) -> None:
        """An OPEN, ACCEPT, EOF or RESET."""

    def credit(self, ident: int, amount: int) -> None:
        """A CREDIT."""

    def violated(self, violation: ChannelViolation) -> None:
        """Begin anew."""


class Intake:
    """The input buffer: bytes are read into it and never copied again, unless a receiver keeps them."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._buffer = bytearray(_INPUT_SIZE)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0

    def clear(self) -> None:
        """The wire was cut."""
        self._start = self._end = 0

    def space(self) -> memoryview:
        """Where the next bytes from the wire are to be put: room for a whole frame at least."""
        if self._start == self._end:
            self._start = self._end = 0
        elif _INPUT_SIZE - self._end < MAX_FRAME:
            rest = self._end - self._start
            self._view[:rest] = self._view[self._start : self._end]
            self._start, self._end = 0, rest
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """So many bytes were put into `space()`. Raises ChannelViolation, after having begun anew."""
        self._end += count
        try:
            if not self._frames.is_up or self._follow():
                self._advance()
        except ChannelViolation as violation:
            self._frames.violated(violation)
            self._advance()  # the peer's HELLO may be among what has come already
            raise

    def _advance(self) -> None:
        """Follow and seek in turn, until what is left is no whole frame."""
        while self._follow() if self._frames.is_up else self._seek():
            pass

    def _seek(self) -> bool:
        """Skip to the next session frame that matters. False: there is none yet."""
        sought = self._frames.sought()
        at = self._buffer.find(sought, self._start, self._end) if sought else -1
        if at < 0:
            self._start = max(self._start, self._end - len(sought) + 1) if sought else self._end
            return False
        self._start = at
        stop = at + SESSION_FRAME
        if stop > self._end:
            return False
        self._start = at + len(sought)
        if self._buffer[stop - 1] == MARK:
            self._start = stop
            self._frames.session_frame(self._buffer[at], 0, bytes(self._view[at + HEADER_SIZE : stop - 1]))
        return True

    def _follow(self) -> bool:
        """The hot path, with local names for all that each frame needs: it runs under TCG. True: go on seeking."""
        buffer, view, streams = self._buffer, self._view, self._frames.streams
        at, end = self._start, self._end
        while end - at >= OVERHEAD:
            kind, ident, length = _unpack(buffer, at)
            if kind == DATA:
                stop = at + OVERHEAD + length
                if stop > end and length <= MAX_PAYLOAD:
                    break
                stream = streams.get(ident)
                if (
                    stream is None
                    or not 0 < length <= stream.window
                    or length > MAX_PAYLOAD
                    or buffer[stop - 1] != MARK
                ):
                    self._start = at
                    raise ChannelViolation("data that isn't allowed")
                stream.window -= length
                self._start = at = stop
                taken = stream.receiver.data(view[stop - 1 - length : stop - 1])
                stream.owed += taken
                if stream.owed >= GRANT:
                    stream.grant()
            else:
                self._start = at
                if not self._follow_other(kind, ident, length):
                    return not self._frames.is_up
                at = self._start
        self._start = at
        return False

    def _follow_other(self, kind: int, ident: int, length: int) -> bool:
        """A frame that isn't data. False: it isn't whole yet, or the channel isn't up any more."""
        if kind == PADDING:
            self._skip_padding()
            return True
        begin = self._start + HEADER_SIZE
        stop = begin + 1 + (0 if kind == CREDIT else length)
        if kind not in KINDS or (length > MAX_PAYLOAD and kind != CREDIT):
            raise ChannelViolation(f"a frame of kind {kind} and {length} bytes")
        if stop > self._end:
            return False
        if self._buffer[stop - 1] != MARK:
            raise ChannelViolation("a frame without its end")
        self._take(kind, ident, length, bytes(self._view[begin : stop - 1]))
        self._start = stop
        return self._frames.is_up

    def _take(self, kind: int, ident: int, length: int, payload: bytes) -> None:
        if kind == CREDIT:
            self._frames.credit(ident, length)
        elif kind in SESSION_KINDS:
            self._frames.session_frame(kind, ident, payload)
        else:
            self._frames.stream_frame(kind, ident, payload)

    def _skip_padding(self) -> None:
        came = bytes(self._view[self._start : self._end])
        self._start += len(came) - len(came.lstrip(b"\0"))
