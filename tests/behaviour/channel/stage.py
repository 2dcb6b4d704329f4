"""The agent as a real process, the host's end of the channel, and between them what QEMU does with a port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

from hostvm.supervisor.channel import Channel
from tests.behaviour.harness.images import ROOT

DEADLINE = 20.0

_AGENT = f"""
import sys
sys.path.insert(0, {ROOT!r})
from guest_agent.agent.main import run
run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
"""


class Chardev:
    """QEMU's part: a socket for the host, one client at a time, and a port that stays open whoever comes and goes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.port, self._inner = socket.socketpair()
        self._inner.setblocking(False)
        self._host: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        self._from_guest = asyncio.create_task(self._pump_from_guest())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._from_guest.cancel()
        self._server.close()
        self._inner.close()
        self.port.close()

    def cut(self) -> None:
        """The connection to the host breaks, at whatever byte it is."""
        if self._host is not None:
            self._host.transport.abort()

    async def inject(self, data: bytes) -> None:
        """The guest sends this beside what its agent sends."""
        assert self._host is not None
        self._host.write(data)
        await self._host.drain()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = writer
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while data := await reader.read(4096):
                await loop.sock_sendall(self._inner, data)
        self._host = None
        writer.close()

    async def _pump_from_guest(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._inner, 1 << 16):
            if self._host is not None:
                self._host.write(data)
                with suppress(OSError):
                    await self._host.drain()


class Stage:
    """One guest and one host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host_socket = f"{folder}/host.sock"
        self.engine_socket = f"{folder}/engine.sock"
        self.chardev = Chardev(f"{folder}/channel.sock")
        self.init, self._control = socket.socketpair()
        self.agent: subprocess.Popen[bytes]
        self.channel: Channel
        self.lives = 0
        self._met = asyncio.Event()
        self._running: asyncio.Task[None]

    def start_agent(self) -> None:
        descriptors = (self.chardev.port.fileno(), self._control.fileno())
        argv = [sys.executable, "-I", "-c", _AGENT, *map(str, descriptors), self.host_socket, self.engine_socket]
        self.agent = subprocess.Popen(argv, pass_fds=descriptors)

    def kill_agent(self) -> None:
        self.agent.kill()
        self.agent.wait()

    def start_host(self) -> None:
        self.channel = Channel(self.chardev.path, connected=self._count)
        self._running = asyncio.create_task(self.channel.run())

    async def stop_host(self) -> None:
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running

    async def wait_lives(self, count: int) -> None:
        """Until the two ends have met so many times."""
        async with asyncio.timeout(DEADLINE):
            while self.lives < count or not self.channel.is_up:
                self._met.clear()
                await self._met.wait()

    def _count(self) -> None:
        self.lives += 1
        self._met.set()


@asynccontextmanager
async def open_stage(folder: Path) -> AsyncIterator[Stage]:
    """Both ends up; in the end, both gone."""
    stage = Stage(folder)
    async with stage.chardev, asyncio.timeout(3 * DEADLINE):
        stage.start_agent()
        stage.start_host()
        try:
            await stage.channel.wait_up(DEADLINE)
            yield stage
        finally:
            await stage.stop_host()
            if stage.agent.poll() is None:
                os.kill(stage.agent.pid, signal.SIGCONT)
                stage.kill_agent()
