"""Writing to a client that may be slow, or gone: asyncio's transport with a `drain`, and a cork for small pieces."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from collections.abc import Callable

#: A piece of a stream is held back until the event loop's next turn, or until this much has gathered: a log of many
#: short lines leaves in few writes, a single line at once. 64 KiB is what one read of a pipe gives.
CORK = 64 << 10
#: Seconds between two looks at whether the client has read: a waiting client takes a tenth of it.
LOOK_AGAIN = 0.0005


class Outlet:
    """The write side of one connection. When the client is gone nothing raises; what is written is dropped."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.paused = False  #: the client doesn't read what it gets
        self._waiters: list[asyncio.Future[None]] = []

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        """Also called when the connection is lost: whoever waits goes on, into the void."""
        self.paused = False
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def write(self, data: bytes) -> None:
        if data and not self.transport.is_closing():
            self.transport.write(data)

    async def taken(self, seconds: float) -> None:
        """Waits until the client has read all that was written, at most so long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not self.transport.is_closing() and self._unread() and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_AGAIN)

    def _unread(self) -> int:
        """Bytes on their way to the client: a unix socket's SIOCOUTQ counts what its peer hasn't read (unix(7))."""
        socket = self.transport.get_extra_info("socket")
        (unread,) = struct.unpack("i", fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
        return int(unread) + self.transport.get_write_buffer_size()

    async def drain(self) -> None:
        """Waits while the client doesn't read what it gets."""
        if self.paused and not self.transport.is_closing():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter


class CorkedOutlet:
    """Gathers the pieces of a stream; `frame` wraps what goes out together (a chunk of chunked coding)."""

    def __init__(self, outlet: Outlet, frame: Callable[[bytes], bytes]) -> None:
        self._outlet = outlet
        self._frame = frame
        self._pieces: list[bytes] = []
        self._size = 0
        self._scheduled: asyncio.Handle | None = None

    async def put(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= CORK:
            self.flush()
            await asyncio.sleep(0)  # a source that never waits must not starve the other connections
            await self._outlet.drain()
        elif self._scheduled is None:
            self._scheduled = asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        pieces, self._pieces, self._size = self._pieces, [], 0
        if pieces:
            self._outlet.write(self._frame(b"".join(pieces)))
