"""A server on a real unix socket in a thread of its own, and a blocking client for its raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator

from guest_agent.api.messages import Application
from guest_agent.http.server import Server


class Served:
    """Where the server listens, its connections (for audits), and a way to stop it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.loop: asyncio.AbstractEventLoop | None = None
        self.stopping: asyncio.Event | None = None
        self.server: Server | None = None

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(self.path)
        return client

    def stop(self) -> None:
        assert self.loop and self.stopping
        with contextlib.suppress(RuntimeError):  # it has ended, and closed its loop
            self.loop.call_soon_threadsafe(self.stopping.set)

    def tasks(self) -> int:
        """How many requests are being served."""
        assert self.loop and self.server
        server = self.server

        async def count() -> int:
            return len(server._tasks())

        return asyncio.run_coroutine_threadsafe(count(), self.loop).result(10)


@contextlib.contextmanager
def served(make: Callable[[], Application]) -> Iterator[Served]:
    """`make` runs in the server's event loop, so that it may create events."""
    with tempfile.TemporaryDirectory() as directory:
        place = Served(f"{directory}/engine.sock")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(place.path)
        listener.listen(64)
        ready = threading.Event()

        async def main() -> None:
            place.loop, place.stopping = asyncio.get_running_loop(), asyncio.Event()
            place.server = Server(make())
            ready.set()
            await place.server.run(listener, place.stopping)

        thread = threading.Thread(target=lambda: asyncio.run(main()))
        thread.start()
        ready.wait(10)
        try:
            yield place
        finally:
            place.stop()
            thread.join(20)
            assert not thread.is_alive()


def receive_all(client: socket.socket) -> bytes:
    """Until the server closes its direction."""
    pieces = []
    while data := client.recv(1 << 16):
        pieces.append(data)
    return b"".join(pieces)


def receive_until(client: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        piece = client.recv(1 << 16)
        assert piece, f"the server closed after {data!r}"
        data += piece
    return data
