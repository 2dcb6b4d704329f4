"""A socket that asyncio's loop watches, without a transport: no copy between the socket and whoever reads it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

#: struct linger: on, 0 seconds. Closing a TCP socket with it sends RST (socket(7)).
_LINGER_NOT = struct.pack("ii", 1, 0)


class WatchedSocket:
    """The `Endpoint` of a pump (guest_agent/wire/pump.py); the socket must not be used by anybody else."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        readable: Callable[[], None],
        writable: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self.loop = loop
        self.take: Callable[[memoryview], int] = sock.recv_into
        self.give: Callable[[memoryview], int] = sock.send
        self._socket = sock
        self._readable = readable
        self._writable = writable
        self._reading = self._writing = False

    def watch(self, reading: bool, writing: bool) -> None:
        if reading != self._reading:
            self._reading = reading
            if reading:
                self.loop.add_reader(self._socket, self._readable)
            else:
                self.loop.remove_reader(self._socket)
        if writing != self._writing:
            self._writing = writing
            if writing:
                self.loop.add_writer(self._socket, self._writable)
            else:
                self.loop.remove_writer(self._socket)

    def half_close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the peer is gone already

    def close(self, abort: bool) -> None:
        self.watch(False, False)
        if abort and self._socket.family in (socket.AF_INET, socket.AF_INET6):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            except OSError:
                pass  # the peer was faster
        self._socket.close()
