"""The body of a request as an async iterator, fed by the connection, with back-pressure towards the client."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from guest_agent.wire.errors import HostvmError, InvalidArgument

#: Bytes that may wait unread before the socket isn't read any more; two of asyncio's reads (256 KiB each).
HIGH_WATER = 512 << 10


class RequestBody:
    """`feed`, `end` and `fail` are the connection's side; iteration and `read` the handler's.

    `on_taken` is called when the handler has emptied the buffer, `on_wanted` before it waits for the first time
    (that is where `100 Continue` goes out).
    """

    def __init__(self, on_taken: Callable[[], None], on_wanted: Callable[[], None]) -> None:
        self._on_taken = on_taken
        self._on_wanted = on_wanted
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._error: HostvmError | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        return self._size >= HIGH_WATER

    def feed(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        self._wake()

    def end(self) -> None:
        self._ended = True
        self._wake()

    def fail(self, error: HostvmError) -> None:
        """What has come can still be read; then comes the error. Without effect on a whole body."""
        if not self._ended:
            self._error = error
            self._wake()

    def __aiter__(self) -> RequestBody:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            await self._wait()
        return self._take()

    async def read(self, limit: int) -> bytes:
        """All of it. Raises InvalidArgument above `limit` bytes, PeerMisbehaved on a truncated body."""
        pieces: list[bytes] = []
        size = 0
        async for piece in self:
            size += len(piece)
            if size > limit:
                raise InvalidArgument("http: request body too large")
            pieces.append(piece)
        return b"".join(pieces)

    def _take(self) -> bytes:
        piece = b"".join(self._pieces) if len(self._pieces) > 1 else self._pieces[0]
        self._pieces.clear()
        self._size = 0
        self._on_taken()
        return piece

    async def _wait(self) -> None:
        self._on_wanted()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
