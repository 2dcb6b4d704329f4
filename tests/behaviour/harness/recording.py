"""A proxy between clients and an engine's socket that keeps what was said, to check it against Docker's description.

It forwards bytes as they come, half-closes among them, and closes its connection to the engine when the client is gone:
the engine must see both as if nobody stood between (unix(7): POLLHUP when a peer has shut both directions).
"""

from __future__ import annotations

import os
import select
import socket
import threading

from tests.description.checking import deviations
from tests.description.transcript import read_exchanges

#: Bytes of a direction that are kept: a saved image isn't read as HTTP.
KEPT = 4 << 20
PIECE = 1 << 16


class Recorder:
    """Listens at `path` from the start on."""

    def __init__(self, path: str, engine: str) -> None:
        self.path = path
        self._engine = engine
        self._connections: list[_Connection] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(128)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            engine = socket.socket(socket.AF_UNIX)
            try:
                engine.connect(self._engine)
            except OSError:
                client.close()
                continue
            self._connections.append(_Connection(client, engine))

    def close(self) -> None:
        """Takes no more clients, ends those that are left, and forgets the path."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        os.unlink(self.path)
        for connection in self._connections:
            connection.close()

    def deviations(self) -> list[str]:
        """Of all exchanges, each once. MUST be closed."""
        return sorted({line for connection in self._connections for line in connection.deviations()})


class _Connection:
    """A thread for each direction: neither waits for the other's reader."""

    def __init__(self, client: socket.socket, engine: socket.socket) -> None:
        self._client, self._engine = client, engine
        self._said = {client: bytearray(), engine: bytearray()}
        self._threads = [
            threading.Thread(target=self._forward_requests, daemon=True),
            threading.Thread(target=self._forward, args=(engine, client), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _forward_requests(self) -> None:
        self._forward(self._client, self._engine)
        poll = select.poll()
        poll.register(self._client, 0)
        poll.poll()  # until the client is gone, or both directions have ended
        shut(self._engine, socket.SHUT_RDWR)

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(PIECE):
                self._keep(source, data)
                target.sendall(data)
        except OSError:
            pass  # one of them is gone
        shut(target, socket.SHUT_WR)

    def _keep(self, source: socket.socket, data: bytes) -> None:
        if len(self._said[source]) < KEPT:
            self._said[source] += data

    def deviations(self) -> list[str]:
        asked, answered = bytes(self._said[self._client]), bytes(self._said[self._engine])
        return [line for exchange in read_exchanges(asked, answered) for line in deviations(exchange)]

    def close(self) -> None:
        """Ends both directions; waits for the threads, which have nothing left to wait for then."""
        for side in (self._client, self._engine):
            shut(side, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._client.close()
        self._engine.close()


def shut(side: socket.socket, how: int) -> None:
    try:
        side.shutdown(how)
    except OSError:
        pass  # it was already
