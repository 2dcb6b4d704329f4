"""A machine without its VM: the real agent in a process of its own, the real channel, table and leases around it.

What QEMU does is done by `Wire`: it carries bytes between the agent's port and whoever is connected to the channel's
socket, and drops them while nobody is. The guest's network is the host's own, so services "in the guest" are servers of
the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from guest_agent.networks.gateway import HeldPort
from guest_agent.networks.leases import LeaseGateway
from guest_agent.wire.models import ContainerPort, PortBinding, Protocol
from hostvm.forward.rules import PortRules
from hostvm.forward.table import PortTable
from hostvm.supervisor.channel import Channel

AGENT = "import sys; from guest_agent.agent.main import run; run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])"
ID, OTHER_ID = "a" * 64, "b" * 64
SECONDS = 20.0


class Wire:
    """Between the agent's end of a socketpair and the channel's socket."""

    def __init__(self, path: str) -> None:
        self.guest_end, self._inner = socket.socketpair()
        self._inner.setblocking(False)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(4)
        self._listener.setblocking(False)
        self._host: socket.socket | None = None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._accept())
            group.create_task(self._outwards())

    def close(self) -> None:
        for one in (self.guest_end, self._inner, self._listener, self._host):
            if one is not None:
                one.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            host, _ = await loop.sock_accept(self._listener)
            host.setblocking(False)
            self._host = host
            try:
                while data := await loop.sock_recv(host, 1 << 16):
                    await loop.sock_sendall(self._inner, data)
            except OSError:
                pass
            self._host = None
            host.close()

    async def _outwards(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            data = await loop.sock_recv(self._inner, 1 << 16)
            if self._host is not None:
                with contextlib.suppress(OSError):
                    await loop.sock_sendall(self._host, data)


class Machine:
    """What the tests look at and do to it."""

    def __init__(self, folder: str, rules: PortRules) -> None:
        self.host_socket = f"{folder}/host.sock"
        self.wakes = 0
        self.wire = Wire(f"{folder}/channel.sock")
        self._channel_path = f"{folder}/channel.sock"
        self._rules = rules
        self._agent: subprocess.Popen[bytes] | None = None
        self._running: asyncio.Task[None] | None = None
        self.channel: Channel
        self.table: PortTable

    def start_agent(self) -> None:
        control, self._control = socket.socketpair()
        port = self.wire.guest_end.fileno()
        argv = [sys.executable, "-c", AGENT, str(port), str(control.fileno()), self.host_socket]
        self._agent = subprocess.Popen(argv, pass_fds=[port, control.fileno()])
        control.close()

    def kill_agent(self) -> None:
        if self._agent is not None:
            self._agent.kill()
            self._agent.wait()
            self._control.close()
            self._agent = None

    async def start_supervisor(self) -> None:
        self.channel = Channel(self._channel_path)
        self.table = PortTable(self.channel, self._rules, self._wake)
        self.channel.services["ports"] = self.table.handle_lease
        self._running = asyncio.create_task(self.channel.run())
        await self.channel.wait_up(SECONDS)

    async def kill_supervisor(self) -> None:
        """The kernel closes its sockets; nothing is said to anybody."""
        self.table.close()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    def gateway(self) -> LeaseGateway:
        return LeaseGateway(self.host_socket)

    def _wake(self) -> None:
        self.wakes += 1


@contextlib.asynccontextmanager
async def machine(rules: PortRules | None = None) -> AsyncIterator[Machine]:
    """With its supervisor and agent running."""
    with tempfile.TemporaryDirectory() as folder:
        one = Machine(folder, rules or PortRules())
        carrying = asyncio.create_task(one.wire.run())
        one.start_agent()
        try:
            await one.start_supervisor()
            await until(lambda: os.path.exists(one.host_socket))
            yield one
        finally:
            await one.kill_supervisor()
            one.kill_agent()
            carrying.cancel()
            await asyncio.wait({carrying})
            one.wire.close()


async def published(
    gateway: LeaseGateway,
    server: int,
    host_port: int = 0,
    *,
    host_ip: str = "",
    protocol: Protocol = Protocol.TCP,
    address6: str = "",
) -> HeldPort:
    """A port that leads to that server of ours."""
    binding = PortBinding(ContainerPort(server, protocol), host_ip, host_port)
    (port,) = await gateway.hold([binding], ID, "box (1)")
    await port.serve("127.0.0.1", address6)
    return port


async def until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    """What is waited for is in other processes, too: there is no event to wait for."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def in_loop(body: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """The test is a coroutine function."""

    def run() -> None:
        async def bounded() -> None:
            async with asyncio.timeout(60):
                await body()

        asyncio.run(bounded())

    run.__name__, run.__module__, run.__doc__ = body.__name__, body.__module__, body.__doc__
    return run


@contextlib.asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """Answers each connection with what it said, and "end" after its half-close; yields the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.write(b"end")
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.contextmanager
def udp_server(address: str = "127.0.0.1", port: int = 0, word: bytes = b"echo") -> Iterator[int]:
    """Answers each datagram with the word and itself."""
    one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    one.bind((address, port))
    one.setblocking(False)
    loop = asyncio.get_running_loop()

    def answer() -> None:
        data, client = one.recvfrom(65536)
        one.sendto(word + b" " + data, client)

    loop.add_reader(one, answer)
    try:
        yield one.getsockname()[1]
    finally:
        loop.remove_reader(one)
        one.close()


async def call(port: int, data: bytes = b"hello", address: str = "127.0.0.1") -> bytes:
    """Says it, half-closes, answers all that comes. Raises OSError."""
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(data)
        await writer.drain()
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


def call_udp(port: int, data: bytes = b"hello", address: str = "127.0.0.1") -> bytes:
    """To be called in a thread."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(10)
        one.connect((address, port))
        one.send(data)
        return one.recv(65536)


def is_free(port: int) -> bool:
    """On every address."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("::", port))
        except OSError:
            return False
        return True
