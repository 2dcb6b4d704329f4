"""Two ends of the channel in one process, with a wire between them that a test cuts as it likes."""

from __future__ import annotations

from guest_agent.wire.channel import Multiplexer
from guest_agent.wire.channel_frames import WINDOW
from guest_agent.wire.channel_input import ChannelViolation
from guest_agent.wire.channel_stream import StreamEnd
from guest_agent.wire.errors import HostvmError, Unavailable


class Listener:
    """A receiver that notes all it hears; while it is `stalled` it keeps what comes, and gives no credit for it."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.kept = 0
        self.stalled = False
        self.was_accepted = False
        self.message: dict[str, object] | None = None
        self.error: HostvmError | None = None

    def accepted(self) -> None:
        self.was_accepted = True

    def data(self, view: memoryview) -> int:
        assert self.message is None, "data after the end"
        assert self.error is None, "data after a reset"
        self.got += view
        if self.stalled:
            self.kept += len(view)
            assert self.kept <= WINDOW
            return 0
        return len(view)

    def eof(self, message: dict[str, object]) -> None:
        assert self.message is None
        self.message = message

    def reset(self, error: HostvmError) -> None:
        assert self.error is None
        self.error = error

    def writable(self) -> None: ...

    def go_on(self, stream: StreamEnd) -> None:
        self.stalled = False
        kept, self.kept = self.kept, 0
        stream.consumed(kept)


class End:
    """An owner that accepts every stream (but those to "nowhere"), and one end of the wire."""

    def __init__(self, *, is_host: bool) -> None:
        self.streams: dict[int, tuple[StreamEnd, Listener]] = {}
        self.requests: dict[int, dict[str, object]] = {}
        self._written = 0
        self.ups = self.downs = self.freezes = self.violations = 0
        self.mux = Multiplexer(self, is_host=is_host, most_peer_streams=20)

    def up(self) -> None:
        self.ups += 1

    def down(self, error: HostvmError) -> None:
        self.downs += 1

    def frozen(self) -> None:
        self.freezes += 1

    def opened(self, stream: StreamEnd, request: dict[str, object]) -> None:
        if request.get("to") == "nowhere":
            stream.reset(Unavailable("there is no such place"))
            return
        listener = Listener()
        self.streams[stream.ident] = stream, listener
        self.requests[stream.ident] = request
        self.mux.adopt(stream, listener)

    def output_ready(self) -> None: ...

    def open(self, request: dict[str, object] | None = None) -> tuple[StreamEnd, Listener]:
        listener = Listener()
        stream = self.mux.open(request or {"to": "somewhere"}, listener)
        self.streams[stream.ident] = stream, listener
        return stream, listener

    def take_output(self, most: int) -> bytes:
        taken = bytes(self.mux.output(self._written)[:most])
        self._written = len(taken)
        return taken

    def feed(self, data: bytes) -> None:
        """All of it; a violation is counted, and what follows is fed all the same."""
        while data:
            space = self.mux.space()
            part = data[: len(space)]
            space[: len(part)] = part
            data = data[len(part) :]
            try:
                self.mux.received(len(part))
            except ChannelViolation:
                self.violations += 1


class Pair:
    """Host and guest, and what is on its way between them."""

    def __init__(self) -> None:
        self.host, self.guest = End(is_host=True), End(is_host=False)
        self.to_guest = self.to_host = b""

    def turn(self, most: int = 1 << 20) -> bool:
        """One write of each end, delivered. Whether anything moved."""
        self.to_guest += self.host.take_output(most)
        self.to_host += self.guest.take_output(most)
        moved = bool(self.to_guest or self.to_host)
        to_guest, self.to_guest = self.to_guest, b""
        to_host, self.to_host = self.to_host, b""
        self.guest.feed(to_guest)
        self.host.feed(to_host)
        return moved

    def settle(self, most: int = 1 << 20) -> None:
        """Until nothing moves any more."""
        for _ in range(100_000):
            if not self.turn(most):
                return
        raise AssertionError("the channel never comes to rest")


def connected() -> Pair:
    pair = Pair()
    pair.settle()
    assert pair.host.mux.is_up
    assert pair.guest.mux.is_up
    return pair
