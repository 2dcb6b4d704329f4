"""One UDP flow over one stream: a connected socket, so that only the peer's datagrams come back."""

from __future__ import annotations

import socket

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
    """Lives until the host ends it, which knows when a flow has been idle for long."""

    def __init__(self, loop: Loop, sock: socket.socket, stream: StreamEnd) -> None:
        self._loop = loop
        self._socket = sock
        self._stream = stream
        self._decoder = Decoder()
        loop.watch(sock.fileno(), READ, self._readable)

    def data(self, view: memoryview) -> int:
        for datagram in self._decoder.feed(view):
            try:
                self._socket.send(datagram)
            except OSError:
                pass  # no room, or the report of an earlier datagram that nobody took
        return len(view)

    def eof(self, message: dict[str, object]) -> None:
        self._stream.finish()
        self._close()

    def reset(self, error: HostvmError) -> None:
        self._close()

    def _readable(self, _events: int) -> None:
        for _ in range(_PER_TURN):
            try:
                datagram = self._socket.recv(_LONGEST)
            except BlockingIOError:
                return
            except OSError:
                continue  # the report of a datagram that nobody took; reading it clears it
            if self._stream.queued < _MOST_QUEUED:
                self._stream.write(encode(datagram))

    def _close(self) -> None:
        self._loop.watch(self._socket.fileno(), 0, self._readable)
        self._socket.close()
