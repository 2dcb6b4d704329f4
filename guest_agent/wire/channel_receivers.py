"""Who hears of a stream: the contract, and the receivers of streams that nobody listens to yet, or any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from guest_agent.wire.errors import HostvmError

if TYPE_CHECKING:
    from guest_agent.wire.channel_stream import StreamEnd

#: Writes bytes into the view that it is given and returns their number; less than the view's length: nothing more yet.
Source = Callable[[memoryview], int]


class Receiver(Protocol):
    """What hears of one stream. None of these may block or raise."""

    def accepted(self) -> None:
        """The peer has accepted the stream that we opened."""

    def data(self, view: memoryview) -> int:
        """Bytes came. The view is only good during the call. Returns how many of them are done with; the others are
        this receiver's to keep, and to give back with `StreamEnd.consumed`."""

    def eof(self, message: dict[str, object]) -> None:
        """The peer sends no more. `message` may tell why ({"exit": 0})."""

    def reset(self, error: HostvmError) -> None:
        """The stream is over in both directions; nothing else is called after this."""

    def writable(self) -> None:
        """The queue that `StreamEnd.write` fills is short again."""


class Ended:
    """Receiver of a stream that was reset: what is still on its way is dropped, and not paid for."""

    def accepted(self) -> None: ...

    def data(self, view: memoryview) -> int:
        return 0

    def eof(self, message: dict[str, object]) -> None: ...

    def reset(self, error: HostvmError) -> None: ...

    def writable(self) -> None: ...


class Discarding(Ended):
    """Receiver of a stream whose bytes nobody wants: they are taken and dropped."""

    def data(self, view: memoryview) -> int:
        return len(view)


class Holding(Ended):
    """Receiver of a stream that isn't accepted yet: keeps what comes, at most a window."""

    def __init__(self) -> None:
        self.held = bytearray()
        self.message: dict[str, object] | None = None
        self.error: HostvmError | None = None

    def data(self, view: memoryview) -> int:
        self.held += view
        return 0

    def eof(self, message: dict[str, object]) -> None:
        self.message = message

    def reset(self, error: HostvmError) -> None:
        self.error = error

    def hand_over(self, stream: StreamEnd, receiver: Receiver) -> None:
        """`receiver` takes the stream over, and hears of all that has happened."""
        if self.error is not None:
            receiver.reset(self.error)
            return
        stream.receiver = receiver
        if self.held:
            stream.consumed(receiver.data(memoryview(self.held)))
        if self.message is not None:
            receiver.eof(self.message)
