"""The name server at 127.0.0.11: answers what it knows, and hands every other query on, as it is, to other servers.

Its sockets were opened inside the container's namespace, the queries leave from the host's; so a server on the host's
loopback answers too. Queries by TCP are in `name_streams`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from guest_agent.networks.dns import HEADER_SIZE, plan_failure
from guest_agent.networks.name_streams import Answer, NameStreams, Servers

#: resolv.conf(5) gives a server 5 s before the next is asked; two of ours fit into one of the container's tries.
SERVER_SECONDS = 2.0
#: Queries under way at once in one container: a quarter of the usual descriptor limit. More are dropped: UDP may.
MOST_QUERIES = 256
PORT = 53
_LARGEST = 65535


class NameForwarder:
    """Serves one container's pair of sockets, and owns them. Must be made and used on the loop's thread."""

    def __init__(self, datagrams: socket.socket, streams: socket.socket, servers: Servers, answer: Answer) -> None:
        self._loop = asyncio.get_running_loop()
        self._datagrams = datagrams
        self._servers = servers
        self._know = answer
        self._queries: set[_Query] = set()
        datagrams.setblocking(False)
        self._loop.add_reader(datagrams, self._readable)
        self._streams = NameStreams(streams, servers, answer)

    def close(self) -> None:
        """Closes the sockets too: they would keep the container's namespace alive. May be called twice."""
        if self._datagrams.fileno() < 0:
            return
        self._loop.remove_reader(self._datagrams)
        self._streams.close()
        for query in list(self._queries):
            query.end()
        self._datagrams.close()

    def _readable(self) -> None:
        try:
            query, client = self._datagrams.recvfrom(_LARGEST)
        except OSError:
            return
        if len(query) < HEADER_SIZE:
            return
        known = self._know(query, False)
        if known is not None:
            self._send(known, client)
        elif len(self._queries) < MOST_QUERIES:
            self._queries.add(_Query(query, client, self._servers(), self._answer))

    def _answer(self, query: _Query, answer: bytes) -> None:
        self._queries.discard(query)
        if answer:
            self._send(answer, query.client)

    def _send(self, answer: bytes, client: tuple[object, ...]) -> None:
        try:
            self._datagrams.sendto(answer, client)
        except OSError:
            pass  # the client asks again


class _Query:
    """One query on its way from server to server until one answers. Ends with exactly one call of `done`."""

    def __init__(
        self, data: bytes, client: tuple[object, ...], servers: tuple[str, ...], done: Callable[[_Query, bytes], None]
    ) -> None:
        self.client = client
        self._loop = asyncio.get_running_loop()
        self._data = data
        self._left = list(servers)
        self._done = done
        self._socket: socket.socket | None = None
        # Not at once: `done` would come before the caller knows this object.
        self._timer: asyncio.Handle = self._loop.call_soon(self._try_next)

    def end(self, answer: bytes = b"") -> None:
        self._leave_server()
        self._done(self, answer)

    def _try_next(self) -> None:
        self._leave_server()
        while self._left:
            if self._ask(self._left.pop(0)):
                return
        self.end(plan_failure(self._data))

    def _ask(self, server: str) -> bool:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        try:
            self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.connect((server, PORT))
            self._socket.send(self._data)
        except OSError:
            self._leave_server()
            return False
        self._loop.add_reader(self._socket, self._readable, self._socket)
        self._timer = self._loop.call_later(SERVER_SECONDS, self._try_next)
        return True

    def _readable(self, server: socket.socket) -> None:
        try:
            answer = server.recv(_LARGEST)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._try_next()  # refused: nobody is there
            return
        if answer[:2] == self._data[:2]:
            self.end(answer)

    def _leave_server(self) -> None:
        self._timer.cancel()
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
