"""One end of one stream of the channel: its credit, its queue, what it owes to the peer.

A stream is over for an end when it has both sent and received a *final* (EOF or RESET). An end that resets keeps the
stream until the peer's final comes, so that frames on their way find it, and discards them.

Output is pulled: a stream that has something to send is *scheduled*, and when there is room on the wire the
multiplexer asks its `source` for the bytes. So a socket is read when its bytes can leave, and nothing piles up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from guest_agent.wire.channel_frames import (
    ACCEPT,
    CREDIT,
    EOF,
    HEADER,
    HEADER_SIZE,
    MARK,
    MAX_PAYLOAD,
    OPEN,
    OVERHEAD,
    RESET,
    WINDOW,
    encode_json,
)  # fmt: skip
from guest_agent.wire.channel_receivers import Discarding, Ended, Receiver, Source
from guest_agent.wire.errors import HostvmError, InvalidArgument, Unavailable

#: Credit is given back in halves of a window: one frame for every four of data, and the sender never runs dry.
GRANT = WINDOW // 2

#: A queue that has shrunk below this is told to its writer.
LOW_MARK = 64 << 10


class Mux(Protocol):
    """What a stream needs of its multiplexer."""

    #: Streams that may have data.
    ready: deque[StreamEnd]
    #: Streams that owe frames of another kind.
    urgent: deque[StreamEnd]
    #: There is output.
    notify: Callable[[], None]

    def forget(self, ident: int) -> None:
        """The stream is over."""


class StreamEnd:
    """Made by the multiplexer only. `ident` is the same at both ends."""

    __slots__ = (
        "_finishing", "_message", "_mux", "_offset", "_opening", "_pending", "_queue", "_reason", "_then",
        "credit", "ident", "is_accepted", "is_open", "owed", "queued", "received_final", "receiver",
        "scheduled", "sent_final", "source", "window",
    )  # fmt: skip

    def __init__(self, mux: Mux, ident: int, receiver: Receiver) -> None:
        self.ident = ident
        self.receiver: Receiver = receiver
        self.source: Source = self._take
        self.credit = WINDOW  #: bytes that we may send
        self.window = WINDOW  #: bytes that the peer may send
        self.owed = 0  #: bytes consumed, and not yet granted again
        self.queued = 0  #: bytes in the queue of `write`
        self.scheduled = False
        self.is_accepted = False
        self.is_open = True  #: neither end has reset it
        self.sent_final = False
        self.received_final = False
        self._mux = mux
        self._queue: deque[bytes] = deque()
        self._offset = 0
        self._pending: list[int] = []
        self._finishing = False
        self._then: Source | None = None
        self._opening = self._message = self._reason = b""

    # -- what its owner calls

    def accept(self) -> None:
        """The peer's request is granted."""
        if self.is_open and not self.is_accepted:
            self.is_accepted = True
            self.owe(ACCEPT)

    def write(self, data: bytes) -> None:
        """Queues all of it; whoever cares for memory looks at `queued` and waits for `writable`."""
        if data and self.is_open and not self._finishing:
            self._queue.append(data)
            self.queued += len(data)
            self.schedule()

    def pull_from(self, source: Source) -> None:
        """Ask this one for bytes from now on, after what is queued has left."""
        if not self.is_open:
            return
        if self._queue:
            self._then = source
        else:
            self.source = source

    def finish(self, message: dict[str, object] | None = None) -> None:
        """Half-close, after what is queued."""
        if self._finishing or not self.is_open:
            return
        self._finishing = True
        self._message = _bounded(message or {})
        if not self._queue:
            self.owe(EOF)

    def reset(self, error: HostvmError | None = None) -> None:
        """End both directions at once, or refuse; what is queued is dropped."""
        if not self.is_open or (self.sent_final and self.received_final):
            return
        self._reason = encode_error(error) if error else b""
        self._end()
        self.owe(RESET)

    def consumed(self, count: int) -> None:
        """The receiver is done with bytes that it had kept."""
        self.owed += count
        if self.owed >= GRANT:
            self.grant()

    def discard(self) -> None:
        """Whatever still comes isn't wanted, but the peer may go on sending."""
        self.receiver = Discarding()

    def schedule(self) -> None:
        """There may be bytes to send: ask the source when there is room."""
        if not self.scheduled and self.is_open:
            self.scheduled = True
            self._mux.ready.append(self)
            self._mux.notify()

    # -- what the multiplexer calls

    def begin(self, request: dict[str, object]) -> None:
        self._opening = _bounded(request)
        self.owe(OPEN)

    def grant(self) -> None:
        """Where nothing more comes the peer may have forgotten the stream: it gets no credit."""
        if not self.received_final and self.is_open and CREDIT not in self._pending:
            self.owe(CREDIT)

    def owe(self, kind: int) -> None:
        self._pending.append(kind)
        if len(self._pending) == 1:
            self._mux.urgent.append(self)
            self._mux.notify()

    def peer_ended(self, error: HostvmError) -> None:
        """The peer's RESET came. It is answered, unless we had ended before."""
        self.received_final = True
        self.window = 0
        if self.is_open:
            receiver = self.receiver
            self._end()
            if not self.sent_final:
                self.owe(RESET)
            receiver.reset(error)
        self.forget_if_over()

    def lost(self, error: HostvmError) -> None:
        """The other end is gone with all its streams: nothing is sent any more."""
        was_open, receiver = self.is_open, self.receiver
        self._end()
        self.sent_final = self.received_final = True
        if was_open:
            receiver.reset(error)

    def forget_if_over(self) -> None:
        if self.sent_final and self.received_final:
            self._mux.forget(self.ident)

    def write_pending(self, out: memoryview, at: int) -> int:
        """Puts the frames that are owed into `out`; where they end. What finds no room stays owed."""
        while self._pending:
            kind = self._pending[0]
            payload = self._payload_of(kind)
            end = at + OVERHEAD + len(payload)
            if end > len(out):
                break
            del self._pending[0]
            HEADER.pack_into(out, at, kind, self.ident, self.owed if kind == CREDIT else len(payload))
            out[at + HEADER_SIZE : end - 1] = payload
            out[end - 1] = MARK
            at = end
            self._sent(kind)
        return at

    @property
    def owes(self) -> bool:
        return bool(self._pending)

    def _payload_of(self, kind: int) -> bytes:
        if kind == OPEN:
            return self._opening
        return self._message if kind == EOF else self._reason if kind == RESET else b""

    def _sent(self, kind: int) -> None:
        if kind == CREDIT:
            self.window += 0 if self.received_final else self.owed
            self.owed = 0
        elif kind in (EOF, RESET):
            self.sent_final = True
            self.forget_if_over()

    def _end(self) -> None:
        """No more data in either direction. An OPEN that hasn't left still must: without it a RESET has no place."""
        self.is_open = False
        self.receiver = Ended()
        self.source = nothing
        self._then = None
        self._queue.clear()
        self.queued = 0
        self._pending[:] = [kind for kind in self._pending if kind in (OPEN, EOF)]

    def _take(self, room: memoryview) -> int:
        """The source of what was queued by `write`."""
        queue, size, filled = self._queue, len(room), 0
        while queue and filled < size:
            piece = memoryview(queue[0])[self._offset :]
            part = piece[: size - filled]
            room[filled : filled + len(part)] = part
            filled += len(part)
            self._offset += len(part)
            if len(part) == len(piece):
                queue.popleft()
                self._offset = 0
        self._shrunk(filled)
        return filled

    def _shrunk(self, count: int) -> None:
        was_long = self.queued >= LOW_MARK
        self.queued -= count
        if self._finishing and not self._queue and not self.sent_final and EOF not in self._pending:
            self.owe(EOF)
        if self._then is not None and not self._queue:
            self.source, self._then = self._then, None
            self.schedule()
        if was_long and self.queued < LOW_MARK:
            self.receiver.writable()


def encode_error(error: HostvmError) -> bytes:
    """As much of it as fits in a frame."""
    record: dict[str, object] = {"kind": error.kind, "message": error.message[:4000], "hint": error.hint[:2000]}
    return encode_json(record)


def reset_by_peer() -> HostvmError:
    """The error of a RESET that gives no reason."""
    return Unavailable("the other end closed the stream")


def _bounded(value: dict[str, object]) -> bytes:
    payload = encode_json(value)
    if len(payload) > MAX_PAYLOAD:
        raise InvalidArgument(f"the request is longer than {MAX_PAYLOAD} bytes")
    return payload


def nothing(room: memoryview) -> int:
    """The source of a stream that has nothing more to say."""
    return 0
