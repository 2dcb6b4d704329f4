"""engine.sock: every connection becomes a stream to the engine, and wakes the machine where it must.

Connections are taken from the first moment on, while the machine still starts. Where it can't be brought up, the
client is told so as the engine would tell it: HTTP, with Docker's `message`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket

from guest_agent.wire.errors import HTTP_STATUS, HostvmError, error_record
from hostvm.supervisor.journal import say
from hostvm.supervisor.machine import Machine

#: As many as the kernel lets wait (net.core.somaxconn).
_BACKLOG = 4096


def listen_unix(path: str) -> socket.socket:
    """A listening socket at `path` for this user alone; what was there is replaced. Raises OSError."""
    fresh = f"{path}.new"
    if os.path.lexists(fresh):
        os.unlink(fresh)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(fresh)
    os.chmod(fresh, 0o600)
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    os.rename(fresh, path)  # whoever finds it can connect
    return listener


class Gate:
    """`busy` counts the connections that are open."""

    def __init__(self, machine: Machine) -> None:
        self.busy = 0
        self._machine = machine
        self._path = machine.files.engine_socket
        self._accepting: asyncio.Task[None] | None = None
        self._clients: set[asyncio.Task[None]] = set()

    def come_back(self) -> None:
        """From here on clients are served. Raises OSError."""
        self._accepting = asyncio.ensure_future(self._accept(listen_unix(self._path)))

    def leave(self) -> None:
        """Nobody finds the socket any more; who is in stays in. Idempotent."""
        if self._accepting is not None:
            os.unlink(self._path)
            self._accepting.cancel()
            self._accepting = None

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    client, _ = await loop.sock_accept(listener)
                except OSError as error:  # no descriptor left: those that are open will give some back
                    say(f"engine.sock: {error.strerror}")
                    await asyncio.sleep(0.1)
                    continue
                task = asyncio.ensure_future(self._relay(client))
                self._clients.add(task)
                task.add_done_callback(self._clients.discard)

    async def _relay(self, client: socket.socket) -> None:
        self.busy += 1
        try:
            await self._machine.ensure_running()
            await self._machine.contact.channel.forward({"to": "engine"}, client)
        except HostvmError as error:
            await refuse(client, error)
        finally:
            self.busy -= 1
            self._machine.touch()
            client.close()

    async def close(self) -> None:
        """Everybody is sent away."""
        self.leave()
        for task in self._clients:
            task.cancel()
        if self._clients:
            await asyncio.wait(self._clients, timeout=1)


async def refuse(client: socket.socket, error: HostvmError) -> None:
    """An answer in HTTP to whatever the client asks for."""
    if client.fileno() < 0:
        return
    body = json.dumps(error_record(error)).encode()
    status = HTTP_STATUS.get(error.kind, 503)
    head = f"HTTP/1.1 {status} Machine\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    client.setblocking(False)
    try:
        async with asyncio.timeout(5):
            loop = asyncio.get_running_loop()
            await loop.sock_recv(client, 1 << 16)  # closing a socket with unread bytes resets it
            await loop.sock_sendall(client, f"{head}Connection: close\r\n\r\n".encode() + body)
    except (OSError, TimeoutError):
        pass
