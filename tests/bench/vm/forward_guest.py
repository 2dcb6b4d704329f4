"""The server of the forwarding benchmark: all of the container's world. One process, however many connect.

A connection's first bytes are a request, an operation and a count: "e" echoes whatever comes, "k" takes so many bytes
and answers one, "s" sends so many.
"""

from __future__ import annotations

import select
import socket
import struct

REQUEST = struct.Struct(">cQ")
BLOCK = bytes(64 << 10)
PORT = 80


class Server:
    def __init__(self) -> None:
        self._poll = select.epoll()
        self._listener = socket.create_server(("0.0.0.0", PORT), backlog=4096)
        self._listener.setblocking(False)
        self._connections: dict[int, Connection] = {}
        self._poll.register(self._listener.fileno(), select.EPOLLIN)

    def run(self) -> None:
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._listener.fileno():
                    self._accept()
                else:
                    self._serve(descriptor)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[client.fileno()] = Connection(client)
            self._poll.register(client.fileno(), select.EPOLLIN)

    def _serve(self, descriptor: int) -> None:
        connection = self._connections[descriptor]
        try:
            wanted = connection.work()
        except BlockingIOError:
            wanted = select.EPOLLOUT if connection.is_source else select.EPOLLIN
        except (EOFError, OSError):
            self._poll.unregister(descriptor)
            self._connections.pop(descriptor).close()
            return
        self._poll.modify(descriptor, wanted)


class Connection:
    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._operation = b""
        self._left = 0

    @property
    def is_source(self) -> bool:
        return self._operation == b"s"

    def close(self) -> None:
        self._client.close()

    def work(self) -> int:
        """What is to be waited for. Raises BlockingIOError, EOFError, OSError."""
        if not self._operation:
            self._operation, self._left = REQUEST.unpack(self._receive(REQUEST.size))
        elif self._operation == b"e":
            self._client.sendall(self._receive(4096))
        elif self._operation == b"k":
            self._left -= len(self._receive(len(BLOCK)))
            if not self._left:
                self._client.sendall(b".")
        elif not self._left:
            self._receive(1)  # all was sent: only the end can come, and not to read it would be a busy loop
        if self.is_source and self._left:
            self._left -= self._client.send(memoryview(BLOCK)[: self._left])
            return select.EPOLLOUT if self._left else select.EPOLLIN
        return select.EPOLLIN

    def _receive(self, most: int) -> bytes:
        data = self._client.recv(most)
        if not data:
            raise EOFError
        return data


if __name__ == "__main__":
    Server().run()
