"""TCP from a held socket to a target, in the engine's event loop: what address translation doesn't reach ([::1], other
IPv6, connections that came before the container was ready), and name queries by TCP.

Theory of operation. Each connection is two `_Direction`s. A direction reads when its source is readable and writes at
once; what the other side doesn't take is kept (at most one chunk), reading stops and a writer is registered. End of
file is passed on as a half-close. When both directions have ended, or either fails, both sockets are closed; a failure
resets the client, so that it doesn't take a cut for an end.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Sequence

CHUNK = 256 << 10
#: Seconds after which accepting is tried again when descriptors or memory ran out.
ACCEPT_PAUSE = 0.1
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Target = tuple[str, int]
#: A client's address -> where it is led to: the first of these where somebody listens.
Targets = Callable[[str], Sequence[Target]]


class StreamRelay:
    """Accepts on a listening socket, which stays the caller's, and connects each connection with a target.

    The targets are asked for at every connection. Must be made and used on the loop's thread.
    """

    def __init__(self, listener: socket.socket, targets: Targets, buffer: bytearray) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._targets = targets
        self._buffer = buffer
        self._connections: set[_Connection] = set()
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Ends every connection; may be called twice."""
        self._loop.remove_reader(self._listener)
        if self._pause:
            self._pause.cancel()
        for connection in list(self._connections):
            connection.close()

    def _accept(self) -> None:
        try:
            client, peer = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:
            self._rest()
            return
        try:
            targets = self._targets(str(peer[0]))
            self._connections.add(_Connection(client, targets, self._buffer, self._connections.discard))
        except OSError:
            _reset(client)

    def _rest(self) -> None:
        """Out of descriptors: the listener stays readable, so not resting would be a busy loop."""
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(ACCEPT_PAUSE, self._loop.add_reader, self._listener, self._accept)


class _Connection:
    def __init__(
        self,
        client: socket.socket,
        targets: Sequence[Target],
        buffer: bytearray,
        forget: Callable[[_Connection], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._left = list(targets)
        self._buffer = buffer
        self._forget = forget
        self._directions: list[_Direction] = []
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server = self._connect_next()

    def _connect_next(self) -> socket.socket:
        """Raises OSError where none is left."""
        while self._left:
            target = self._left.pop(0)
            family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
            server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if server.connect_ex(target) in (0, errno.EINPROGRESS):
                self._loop.add_writer(server, self._connected)
                return server
            server.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, "connect")

    def _connected(self) -> None:
        self._loop.remove_writer(self._server)
        if self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._go_on()
            return
        for source, sink in ((self._client, self._server), (self._server, self._client)):
            self._directions.append(_Direction(self._loop, source, sink, self._buffer, self._ended))
        for direction in self._directions:
            direction.start()

    def _go_on(self) -> None:
        self._server.close()
        try:
            self._server = self._connect_next()
        except OSError:
            self.close()

    def _ended(self, clean: bool) -> None:
        if not clean:
            self.close()
        elif all(direction.ended for direction in self._directions):
            self._close(reset=False)

    def close(self) -> None:
        """Cuts it."""
        self._close(reset=True)

    def _close(self, *, reset: bool) -> None:
        for one in (self._client, self._server):
            if one.fileno() >= 0:
                self._loop.remove_reader(one)
                self._loop.remove_writer(one)
        if reset:
            _reset(self._client)
        self._client.close()
        self._server.close()
        self._forget(self)


class _Direction:
    """One way of a connection."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: socket.socket,
        sink: socket.socket,
        buffer: bytearray,
        done: Callable[[bool], None],
    ) -> None:
        self.ended = False
        self._loop, self._source, self._sink = loop, source, sink
        self._buffer = memoryview(buffer)
        self._pending = b""
        self._done = done

    def start(self) -> None:
        self._loop.add_reader(self._source, self._readable)

    def _readable(self) -> None:
        try:
            count = self._source.recv_into(self._buffer)
            if count == 0:
                self._finish()
                return
            sent = self._send(self._buffer[:count])
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._done(False)
            return
        if sent < count:
            self._wait_for_sink(bytes(self._buffer[sent:count]))

    def _send(self, data: memoryview | bytes) -> int:
        try:
            return self._sink.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    def _wait_for_sink(self, pending: bytes) -> None:
        self._pending = pending
        self._loop.remove_reader(self._source)
        self._loop.add_writer(self._sink, self._writable)

    def _writable(self) -> None:
        try:
            self._pending = self._pending[self._send(self._pending) :]
        except OSError:
            self._done(False)
            return
        if not self._pending:
            self._loop.remove_writer(self._sink)
            self.start()

    def _finish(self) -> None:
        self.ended = True
        self._loop.remove_reader(self._source)
        try:
            self._sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._done(False)
            return
        self._done(True)


def _reset(one: socket.socket) -> None:
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    except OSError:
        pass  # closed already
    one.close()
