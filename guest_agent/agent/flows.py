"""One UDP flow over one stream: a connected socket, so that only the peer's datagrams come back."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from guest_agent.agent.loop import READ, Loop
from guest_agent.wire.channel_receivers import Ended
from guest_agent.wire.channel_stream import StreamEnd
from guest_agent.wire.datagrams import Decoder, encode
from guest_agent.wire.errors import HostvmError

#: Datagrams are dropped while this much waits for the host: UDP's way to say that it is too much.
_MOST_QUEUED = 256 << 10
_LONGEST = 65535
#: Datagrams read in one turn, so that a flood doesn't starve the other streams.
_PER_TURN = 16


class DatagramFlow(Ended):
    """Lives until the host ends it, which knows when a flow has been idle for long.

    As natively (`networks.datagrams`): one whose target refuses before it has answered goes on with the next, which
    gets what was sent last. After the last it begins with the first again, where somebody may listen by then.
    """

    def __init__(self, loop: Loop, targets: Sequence[tuple[str, int]], stream: StreamEnd) -> None:
        """Raises OSError."""
        self._targets = targets
        self._place = 0
        self._loop = loop
        self._socket = _connected(targets[0])
        self._stream = stream
        self._decoder = Decoder()
        self._unheard = b""  #: what was sent last, as long as nobody has answered it
        loop.watch(self._socket.fileno(), READ, self._readable)

    def data(self, view: memoryview) -> int:
        for datagram in self._decoder.feed(view):
            self._send(datagram)
        return len(view)

    def eof(self, message: dict[str, object]) -> None:
        self._stream.finish()
        self._close()

    def reset(self, error: HostvmError) -> None:
        self._close()

    def _send(self, datagram: bytes) -> None:
        self._unheard = datagram if self._place + 1 < len(self._targets) else b""
        try:
            self._socket.send(datagram)
        except ConnectionRefusedError:  # which is about an earlier one
            self._refused()
        except OSError:
            pass  # no room: UDP may lose what nobody takes

    def _refused(self) -> None:
        place = (self._place + 1) % len(self._targets)
        if place == self._place or (place and not self._unheard):
            return
        try:
            other = _connected(self._targets[place])
        except OSError:
            return
        self._close()
        self._socket, self._place = other, place
        self._loop.watch(other.fileno(), READ, self._readable)
        if place:
            self._send(self._unheard)

    def _readable(self, _events: int) -> None:
        for _ in range(_PER_TURN):
            try:
                datagram = self._socket.recv(_LONGEST)
            except BlockingIOError:
                return
            except ConnectionRefusedError:  # reading it clears it
                self._refused()
                continue
            except OSError:
                continue
            self._unheard = b""
            if self._stream.queued < _MOST_QUEUED:
                self._stream.write(encode(datagram))

    def _close(self) -> None:
        self._loop.watch(self._socket.fileno(), 0, self._readable)
        self._socket.close()


def _connected(target: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    one = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        one.connect(target)
    except OSError:
        one.close()
        raise
    return one
