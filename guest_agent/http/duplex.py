"""A connection after its hijack: raw bytes both ways, each direction with its own end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from guest_agent.http.outlet import Outlet

#: Unread bytes at which the socket isn't read any more.
HIGH_WATER = 256 << 10
#: Seconds for the client to read the head of the answer; one that takes longer on a busy machine may lose output.
HEAD_TAKEN = 2.0


class RawStream:
    """Implements `api.messages.Duplex`; `feed`, `feed_eof` and `lost` are the connection's side."""

    def __init__(self, outlet: Outlet, on_taken: Callable[[], None]) -> None:
        self._outlet = outlet
        self._on_taken = on_taken
        self._buffer = bytearray()
        self._eof = self._begun = False
        self._arrived = asyncio.Event()
        self._gone = asyncio.Event()

    @property
    def full(self) -> bool:
        return len(self._buffer) >= HIGH_WATER

    def feed(self, data: bytes) -> None:
        self._buffer += data
        self._arrived.set()

    def feed_eof(self) -> None:
        self._eof = True
        self._arrived.set()

    def lost(self) -> None:
        self.feed_eof()
        self._gone.set()

    async def read(self) -> bytes:
        if not self._buffer and not self._eof:
            self._arrived.clear()
            await self._arrived.wait()
        data = bytes(self._buffer)
        self._buffer.clear()
        self._on_taken()
        return data

    def send(self, data: bytes) -> None:
        self._outlet.write(data)

    async def write(self, data: bytes) -> None:
        """The first one waits until the client has read the head: docker-py drops what it reads together with it."""
        if not self._begun:
            self._begun = True
            await self._outlet.taken(HEAD_TAKEN)
        self._outlet.write(data)
        await self._outlet.drain()

    async def wait_gone(self) -> None:
        await self._gone.wait()
