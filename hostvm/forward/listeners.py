"""One socket of this host, and everybody who is connected by it to one service of the guest.

A socket that is held and doesn't serve lets whoever comes wait in its backlog (or, of UDP, in its buffer). It can be
asked to tell when somebody has come: that is what wakes a machine which is suspended.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Protocol

from guest_agent.wire.errors import HostvmError
from hostvm.forward.contracts import Channel

#: Connections accepted before other work of the loop gets its turn.
BURST = 64
#: Seconds after which accepting is tried again when descriptors or memory ran out.
ACCEPT_PAUSE = 0.1
Request = dict[str, object]


class Listener(Protocol):
    """A socket that is held. Used on the loop's thread."""

    socket: socket.socket

    def serve(self, channel: Channel, request: Request) -> None:
        """Lead whoever comes to that service of the guest. Who is connected already stays where he is."""

    def pause(self, came: Callable[[], None] | None = None) -> None:
        """Let go of everybody, go on holding the socket; `came` is called once when somebody waits."""

    def close(self) -> None:
        """Idempotent. The port is free when this returns."""

    @property
    def connections(self) -> int:
        """How many are being served."""


class StreamListener:
    """The Listener of a listening TCP or unix socket: a stream of the channel for each connection."""

    def __init__(self, listener: socket.socket) -> None:
        self.socket = listener
        self._loop = asyncio.get_running_loop()
        self._connections: set[asyncio.Task[None]] = set()
        self._resting: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        return len(self._connections)

    def serve(self, channel: Channel, request: Request) -> None:
        self._stop_accepting()
        self._loop.add_reader(self.socket, self._accept, channel, request)

    def pause(self, came: Callable[[], None] | None = None) -> None:
        self._stop_accepting()
        for one in self._connections:
            one.cancel()
        if came is not None:
            self._loop.add_reader(self.socket, self._tell, came)

    def close(self) -> None:
        if self.socket.fileno() >= 0:
            self.pause()
            self.socket.close()

    def _tell(self, came: Callable[[], None]) -> None:
        self._loop.remove_reader(self.socket)
        came()

    def _stop_accepting(self) -> None:
        self._loop.remove_reader(self.socket)
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None

    def _accept(self, channel: Channel, request: Request) -> None:
        for _ in range(BURST):
            try:
                client, peer = self.socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError:
                self._rest(channel, request)
                return
            self._connect(channel, request_of(peer, request), client)

    def _rest(self, channel: Channel, request: Request) -> None:
        """Out of descriptors: the listener stays readable, so not resting would be a busy loop."""
        self._stop_accepting()
        self._resting = self._loop.call_later(ACCEPT_PAUSE, self.serve, channel, request)

    def _connect(self, channel: Channel, request: Request, client: socket.socket) -> None:
        client.setblocking(False)
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(_forward(channel, request, client))
        self._connections.add(task)
        task.add_done_callback(partial(self._ended, client))

    def _ended(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        client.close()  # it is still open where the task was cancelled before it began
        self._connections.discard(task)


def request_of(peer: object, request: Request) -> Request:
    """An address to try `first` is for those that come by IPv6 only, which mapped IPv4 ("::ffff:127.0.0.1") isn't."""
    address = str(peer[0]) if isinstance(peer, tuple) else ""
    if ":" in address and "." not in address:
        return request
    return {name: value for name, value in request.items() if name != "first"}


async def _forward(channel: Channel, request: Request, client: socket.socket) -> None:
    try:
        await channel.forward(request, client)
    except HostvmError:
        pass  # nobody listens there; the client's connection was reset
