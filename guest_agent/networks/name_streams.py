"""Name queries by TCP: each message has its length in front (RFC 1035, 4.2.2), and a connection may carry several."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from guest_agent.networks.dns import HEADER_SIZE, plan_failure

#: Seconds without a query after which a client's connection is closed (RFC 7766, 6.2.3 asks for a few).
IDLE_SECONDS = 10.0
#: Seconds for a server to answer, its connection included.
SERVER_SECONDS = 4.0
#: Connections of one container at once: more wait in the backlog.
MOST_CONNECTIONS = 64
_PORT = 53
#: Seconds after which accepting is tried again when descriptors ran out.
_PAUSE = 0.1

Servers = Callable[[], tuple[str, ...]]
#: A query, and whether it came by a stream: the answer, or None where other servers have to be asked.
Answer = Callable[[bytes, bool], bytes | None]


class NameStreams:
    """Serves a listening socket inside a container, and owns it. Must be made and used on the loop's thread."""

    def __init__(self, listener: socket.socket, servers: Servers, answer: Answer) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._servers = servers
        self._know = answer
        self._connections: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Ends every connection; may be called twice."""
        if self._listener.fileno() < 0:
            return
        self._loop.remove_reader(self._listener)
        if self._pause:
            self._pause.cancel()
        for connection in self._connections:
            connection.cancel()
        self._listener.close()

    def _listen(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _rest(self) -> None:
        """The listener stays readable, so not resting would be a busy loop."""
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(_PAUSE, self._listen)

    def _accept(self) -> None:
        if len(self._connections) >= MOST_CONNECTIONS:
            self._rest()
            return
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:
            self._rest()
            return
        task = self._loop.create_task(self._serve(client))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, client: socket.socket) -> None:
        """Query by query, until the client has no more."""
        client.setblocking(False)
        with client:
            try:
                while True:
                    async with asyncio.timeout(IDLE_SECONDS):
                        query = await receive(client)
                    if len(query) < HEADER_SIZE:
                        return
                    known = self._know(query, True)
                    await send(client, known if known is not None else await self._ask(query))
            except (OSError, EOFError):  # TimeoutError is an OSError
                return

    async def _ask(self, query: bytes) -> bytes:
        """The first answer of the servers in their order; SERVFAIL where none comes."""
        for server in self._servers():
            try:
                async with asyncio.timeout(SERVER_SECONDS):
                    return await ask(server, query)
            except (OSError, EOFError):
                continue
        return plan_failure(query)


async def ask(server: str, query: bytes) -> bytes:
    """One query to one server. Raises OSError and EOFError."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as one:
        await asyncio.get_running_loop().sock_connect(one, (server, _PORT))
        await send(one, query)
        return await receive(one)


async def receive(one: socket.socket) -> bytes:
    """A message. Raises EOFError where the stream ends."""
    return await _exactly(one, int.from_bytes(await _exactly(one, 2)))


async def send(one: socket.socket, message: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(one, len(message).to_bytes(2) + message)


async def _exactly(one: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await asyncio.get_running_loop().sock_recv(one, size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
