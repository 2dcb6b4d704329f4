"""A keeper as a real process, and the engines that it starts, as the test plays them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from guest_agent.keeper.client import KeeperClient
from tests.behaviour.harness.images import ROOT

#: Seconds after which a test is given up.
DEADLINE = 30.0

#: As `serve` does it: a subreaper that becomes the keeper.
_KEEPER = f"""
import sys
sys.path.insert(0, {ROOT!r})
from guest_agent.linux.process import become_subreaper
from guest_agent.keeper.main import main
become_subreaper()
main()
"""


@dataclass(slots=True)
class FakeEngine:
    """One life of the engine: its process, and its ends of what the keeper gave it."""

    pid: int
    control: socket.socket
    listener: int
    client: KeeperClient
    channel: socket.socket

    def kill(self) -> None:
        """kill -9. Our copy of the channel goes first: an engine has no other."""
        self._let_go()
        os.kill(self.pid, signal.SIGKILL)

    def end(self, status: int = 0) -> None:
        self._let_go()
        self.control.send(bytes([status]))

    def _let_go(self) -> None:
        asyncio.get_running_loop().remove_reader(self.channel)
        self.channel.close()
        os.close(self.listener)


class KeeperProcess:
    """The keeper, its files, and the socket by which its engines come to the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "exits"
        self.socket_path = str(folder / "engine.sock")
        self._control = socket.socket(socket.AF_UNIX)
        self._control.bind(str(folder / "control"))
        self._control.listen(8)
        self._control.settimeout(DEADLINE)
        self._engines: list[socket.socket] = []
        self.ready, self.process = self._start()

    def _start(self) -> tuple[int, subprocess.Popen[bytes]]:
        ready, told = os.pipe()
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT)
        listener = socket.socket(socket.AF_UNIX)
        with listener:
            listener.bind(self.socket_path)
            listener.listen(8)
            inherited = (lock, listener.fileno(), told)
            fake = Path(__file__).with_name("fake_engine.py")
            engine = [sys.executable, "-I", "-S", str(fake), str(self.folder / "control")]
            argv = [sys.executable, "-I", "-S", "-c", _KEEPER, *map(str, inherited), str(self.journal), *engine]
            process = subprocess.Popen(argv, pass_fds=inherited, stderr=subprocess.DEVNULL)
        os.close(lock)
        os.close(told)
        return ready, process

    def next_engine(self) -> FakeEngine:
        """The engine that the keeper starts next, with its inventory read, and listening."""
        connection, _address = self._control.accept()
        connection.settimeout(DEADLINE)
        self._engines.append(connection)
        data, fds, _flags, _address = socket.recv_fds(connection, 64, 2)
        channel = socket.socket(fileno=fds[1])
        client = KeeperClient(channel, str(self.journal))
        client.receive_inventory()
        client.attach(asyncio.get_running_loop())
        return FakeEngine(int(data), connection, fds[0], client, channel)

    def wait(self) -> int:
        """Until it has ended by itself; its exit status."""
        return self.process.wait(DEADLINE)

    def wait_stopped(self) -> None:
        """Until SIGSTOP has stopped it."""
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def said(self) -> bytes:
        """What whoever started it is told; b"" once that can be no more."""
        return os.read(self.ready, 4096)

    def close(self) -> None:
        """The keeper first: it would start another engine for each that ends."""
        self.process.kill()
        self.process.wait()
        for connection in (*self._engines, self._control):
            connection.close()
        os.close(self.ready)


@contextmanager
def keeper_process(folder: Path) -> Iterator[KeeperProcess]:
    keeper = KeeperProcess(folder)
    try:
        yield keeper
    finally:
        keeper.close()
