"""The channel between host and guest: many streams over one byte stream that may break at any byte. Sans-IO.

Theory of operation. Both ends hold a `Multiplexer`. Whoever owns the wire reads into `space()` and says `received(n)`,
and writes what `output(n)` gives, n being how much of the last was written. Streams tell their receivers what comes,
and are asked for bytes when there is room (channel_stream.py); frames are in channel_frames.py.

*Session.* Each life of an end has a random epoch. HELLO(own epoch, known epoch of the peer) is answered until both know
both. Until a HELLO with our own epoch in it has come, everything else that comes is skipped: it was meant for somebody
who died. A HELLO with another epoch ends all streams. An end that starts, or whose wire was cut, sends as many zeros as
the longest frame has bytes first: a peer in the middle of a frame gets in step by them, and finds the frame broken.

*Violations.* A peer isn't trusted. Whatever it does against the protocol raises `ChannelViolation` out of `received`,
after this end has begun a new life: all streams are lost, a HELLO is due, and what comes is searched for its answer.

*Fairness.* Streams with bytes to send stand in a ring; each gives one frame at a time, as far as its credit goes. What
is owed beyond data (credit, answers, ends) goes first, and is bounded by the number of streams: it is kept as marks on
them, never as a queue.

*Freezing.* Before the machine's state is saved the host's end sends FREEZE: the guest's end drops all streams, answers
FROZEN, and says nothing more until the next HELLO. So a saved state has no half frame in it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from guest_agent.wire.channel_frames import (
    ACCEPT,
    EOF,
    FREEZE,
    FROZEN,
    HELLO,
    MAGIC,
    MAX_FRAME,
    OPEN,
    SESSION,
    WINDOW,
    encode_session,
    parse_json,
    session_start,
)  # fmt: skip
from guest_agent.wire.channel_input import ChannelViolation, Intake
from guest_agent.wire.channel_output import Output
from guest_agent.wire.channel_receivers import Holding, Receiver
from guest_agent.wire.channel_stream import StreamEnd, reset_by_peer
from guest_agent.wire.errors import HostvmError, Unavailable, error_from


class Phase(Enum):
    """SEEKING: waits for a HELLO that knows us; UP: streams flow; FREEZING: waits for FROZEN; FROZEN: silent."""

    SEEKING = 1
    UP = 2
    FREEZING = 3
    FROZEN = 4


class Owner(Protocol):
    """Who hears of the channel as a whole. None of these may block, raise, or call `restart` or `freeze`."""

    def up(self) -> None:
        """Both ends know each other: streams can be opened."""

    def down(self, error: HostvmError) -> None:
        """All streams are lost; their receivers were told already."""

    def opened(self, stream: StreamEnd, request: dict[str, object]) -> None:
        """The peer asks for a stream: `adopt` or `reset` it, at once or later."""

    def frozen(self) -> None:
        """Frozen: at the guest's end by the host's wish; at the host's end the guest has confirmed it."""

    def output_ready(self) -> None:
        """`output` has something to send again. Called once, until `output` was found empty."""


class Multiplexer:
    """One end of the channel."""

    space: Callable[[], memoryview]  #: see Intake
    received: Callable[[int], None]
    output: Callable[[int], memoryview]  #: see Output
    ready: deque[StreamEnd]
    urgent: deque[StreamEnd]
    notify: Callable[[], None]

    def __init__(
        self, owner: Owner, *, is_host: bool, most_peer_streams: int = 1024, output_size: int = MAX_FRAME
    ) -> None:
        self.streams: dict[int, StreamEnd] = {}
        self.is_up = False  #: phase is UP; a plain attribute, for it is asked for at each read
        self.phase = Phase.SEEKING
        self._owner = owner
        self._is_host = is_host
        self._next_ident = 1 if is_host else 2
        self._most_peer_streams = most_peer_streams
        self._peer_streams = 0
        self._epoch = _new_epoch()
        self._peer = 0
        self._intake = Intake(self)
        self._output = Output(output_size, owner.output_ready)
        self.space, self.received = self._intake.space, self._intake.received
        self.output = self._output.output
        self.ready, self.urgent, self.notify = self._output.ready, self._output.urgent, self._output.notify
        self._output.begin_wire()
        self._say(HELLO)

    # -- streams

    def open(self, request: dict[str, object], receiver: Receiver) -> StreamEnd:
        """A stream to the peer's service. It can be written to at once; `receiver` hears whether it is accepted.

        Raises Unavailable while the channel is down, InvalidArgument for a request that fits in no frame.
        """
        self._require_up()
        stream = StreamEnd(self, self._free_ident(), receiver)
        stream.begin(request)
        self.streams[stream.ident] = stream
        return stream

    def adopt(self, stream: StreamEnd, receiver: Receiver) -> None:
        """Accept a stream that the peer opened; one that ended meanwhile is `reset` for the receiver at once."""
        stream.accept()
        if isinstance(stream.receiver, Holding):
            stream.receiver.hand_over(stream, receiver)
        else:
            receiver.reset(reset_by_peer())

    # -- the session

    def restart(self, error: HostvmError) -> None:
        """The wire was cut: begin a new life, forget half sent frames, and help the peer to get in step."""
        self._intake.clear()
        self._output.begin_wire()
        self._begin_anew(error)

    def freeze(self) -> None:
        """Drop all streams and ask the peer for silence; `Owner.frozen` follows when it has confirmed."""
        self._require_up()
        self._enter(Phase.FREEZING)
        self._say(FREEZE)
        self._lose_streams(_suspended())

    def _require_up(self) -> None:
        if not self.is_up:
            raise Unavailable("the channel to the machine is down")

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.is_up = phase is Phase.UP

    def _say(self, kind: int) -> None:
        """The epochs are those of the moment when it leaves. Streams follow only where we are UP."""
        self._output.say(lambda: encode_session(kind, self._epoch, self._peer), then_silent=not self.is_up)

    def _begin_anew(self, error: HostvmError) -> None:
        was_up = self.is_up
        self._epoch = _new_epoch()
        self._enter(Phase.SEEKING)
        self._say(HELLO)
        self._lose_streams(error)
        if was_up:
            self._owner.down(error)

    def _lose_streams(self, error: HostvmError) -> None:
        lost = list(self.streams.values())
        self.streams.clear()
        self._output.forget_streams()
        self._peer_streams = 0
        for stream in lost:
            stream.lost(error)

    def _on_hello(self, peer: int, known: int) -> None:
        is_news = peer != self._peer
        self._peer = peer
        if is_news and self.is_up:
            self._step_down(Phase.SEEKING, Unavailable("the other end of the channel was started anew"))
        if known != self._epoch:
            self._enter(Phase.UP if self.is_up else Phase.SEEKING)
        elif not self.is_up:
            self._enter(Phase.UP)
            self._output.speak()
            self._owner.up()
        if is_news or known != self._epoch:
            self._say(HELLO)

    def _step_down(self, phase: Phase, error: HostvmError) -> None:
        self._enter(phase)
        self._lose_streams(error)
        self._owner.down(error)

    def _on_freeze(self) -> None:
        self._step_down(Phase.FROZEN, _suspended())
        self._say(FROZEN)
        self._owner.frozen()

    # -- what Intake finds

    def sought(self) -> bytes:
        if self._is_host and self.phase is Phase.FROZEN:
            return b""
        return session_start(FROZEN if self.phase is Phase.FREEZING else HELLO)

    def session_frame(self, kind: int, ident: int, payload: bytes) -> None:
        if ident or len(payload) != SESSION.size or not payload.startswith(MAGIC):
            raise ChannelViolation("a session frame of the wrong shape")
        _magic, peer, known = SESSION.unpack(payload)
        if kind == HELLO and peer:
            self._on_hello(peer, known)
        elif kind == FREEZE and self.is_up and not self._is_host:
            self._on_freeze()
        elif kind == FROZEN and self.phase is Phase.FREEZING and known == self._epoch:
            self._enter(Phase.FROZEN)
            self._owner.frozen()
        elif self.is_up:
            raise ChannelViolation("a session frame out of turn")

    def stream_frame(self, kind: int, ident: int, payload: bytes) -> None:
        try:
            value = parse_json(payload)
        except ValueError as error:
            raise ChannelViolation(f"a payload that can't be read: {error}") from None
        if kind == OPEN:
            self._on_open(ident, value)
        elif kind == ACCEPT:
            self._on_accept(self._known(ident), value)
        elif kind == EOF:
            self._on_eof(self._known(ident), value)
        elif ident in self.streams:  # else we had ended it while the RESET was on its way
            self.streams[ident].peer_ended(_error_of(value))

    def credit(self, ident: int, amount: int) -> None:
        """For a stream that is over it isn't wrong: both ends may have ended while it was on its way."""
        stream = self.streams.get(ident)
        if stream is None:
            return
        starved = not stream.credit
        stream.credit += amount
        if not amount or stream.credit > WINDOW:
            raise ChannelViolation("more credit than was ever used")
        if starved:
            stream.schedule()

    def violated(self, violation: ChannelViolation) -> None:
        self._begin_anew(violation)

    def _on_open(self, ident: int, request: dict[str, object]) -> None:
        if ident in self.streams or not ident or self._is_ours(ident):
            raise ChannelViolation("a stream opened twice, or with a number of ours")
        stream = StreamEnd(self, ident, Holding())
        self.streams[ident] = stream
        self._peer_streams += 1
        if self._peer_streams > self._most_peer_streams:
            self._refuse_or_give_up(stream)
        else:
            self._owner.opened(stream, request)

    def _refuse_or_give_up(self, stream: StreamEnd) -> None:
        """A peer that leaves refusals unanswered has as many of them as streams, and no more."""
        if self._peer_streams > 2 * self._most_peer_streams:
            raise ChannelViolation("too many streams")
        stream.reset(Unavailable(f"more than {self._most_peer_streams} streams are open"))

    def _on_accept(self, stream: StreamEnd, value: dict[str, object]) -> None:
        if stream.is_accepted or not self._is_ours(stream.ident) or value:
            raise ChannelViolation("an answer that wasn't due")
        stream.is_accepted = True
        stream.receiver.accepted()

    def _on_eof(self, stream: StreamEnd, message: dict[str, object]) -> None:
        if stream.received_final:
            raise ChannelViolation("an end after the end")
        stream.received_final = True
        stream.window = 0
        stream.forget_if_over()
        stream.receiver.eof(message)

    def _known(self, ident: int) -> StreamEnd:
        stream = self.streams.get(ident)
        if stream is None:
            raise ChannelViolation("a frame for a stream that isn't there")
        return stream

    # -- what streams need

    def forget(self, ident: int) -> None:
        if self.streams.pop(ident, None) is not None and not self._is_ours(ident):
            self._peer_streams -= 1

    def _is_ours(self, ident: int) -> bool:
        return bool(ident & 1) == self._is_host

    def _free_ident(self) -> int:
        ident = self._next_ident
        while ident in self.streams or not ident:
            ident = (ident + 2) & 0xFFFFFFFF
        self._next_ident = (ident + 2) & 0xFFFFFFFF
        return ident


def _error_of(reason: dict[str, object]) -> HostvmError:
    if not reason:
        return reset_by_peer()
    return error_from(*(str(reason.get(name, "")) for name in ("kind", "message", "hint")))


def _suspended() -> HostvmError:
    return Unavailable("the machine is being suspended")


def _new_epoch() -> int:
    return int.from_bytes(os.urandom(8), "big") | 1
