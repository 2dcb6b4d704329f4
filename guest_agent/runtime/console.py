"""The master of a container's terminal, received from the OCI runtime over `--console-socket` (SCM_RIGHTS)."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios

from guest_agent.wire.errors import HostFailed


class ConsoleSocket:
    """Listens at `path` (at most 107 bytes, made 0600) for one terminal. Close it in any case; that unlinks."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._listener.bind(path)
        os.chmod(path, 0o600)
        self._listener.listen(1)
        self._listener.setblocking(False)

    async def receive(self, timeout: float) -> int:
        """The master, which is the caller's. HostFailed where none came within `timeout` seconds."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                connection, _ = await loop.sock_accept(self._listener)
                with connection:
                    return await _receive_descriptor(loop, connection)
        except TimeoutError:
            raise HostFailed("the runtime handed no terminal over") from None

    def close(self) -> None:
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


async def _receive_descriptor(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> int:
    readable = asyncio.Event()
    loop.add_reader(connection, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(connection)
    _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            return array.array("i", data)[0]
    raise HostFailed("the runtime handed no terminal over")


def resize(master: int, rows: int, columns: int) -> None:
    """TIOCSWINSZ: the foreground process gets SIGWINCH."""
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
