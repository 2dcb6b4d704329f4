"""The command line's end of lent ssh agents: a line at a time, and the agent only once somebody asks."""

from __future__ import annotations

import _socket
import socket
import threading
from collections import deque
from pathlib import Path
from typing import cast

import pytest

from guest_agent.wire.errors import Unavailable
from hostvm.cli.cold.agents import lend
from hostvm.client.connection import Engine


class FakeEngine:
    """Its ends of the lines in the order in which they were opened; `most` of them."""

    def __init__(self, most: int) -> None:
        self.lines: deque[socket.socket] = deque()
        self.paths: list[str] = []
        self._most = most
        self._opened = threading.Semaphore(0)

    def upgrade(self, path: str, _body: object, protocol: str) -> tuple[_socket.socket, bytes]:
        if protocol != "hostvm-agent" or len(self.paths) == self._most:
            raise Unavailable("no engine")
        ours, theirs = _socket.socketpair()  # of the kind that the client has
        self.paths.append(path)
        self.lines.append(socket.socket(fileno=ours.detach()))
        self._opened.release()
        return theirs, b""

    def next(self) -> socket.socket:
        assert self._opened.acquire(timeout=30)
        line = self.lines.popleft()
        line.settimeout(30)
        return line


@pytest.fixture
def agent(tmp_path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "agent"))
    listening.listen()
    listening.settimeout(30)
    return listening


def test_a_line_for_each_that_asks(agent: socket.socket, tmp_path: Path) -> None:
    engine = FakeEngine(most=2)
    tokens = lend(cast(Engine, engine), {"default": str(tmp_path / "agent")})
    for number in (1, 2):
        line = engine.next()
        line.sendall(b"keys?")
        served, _ = agent.accept()
        with served, line:
            assert served.recv(100) == b"keys?"
            served.sendall(b"none")
            assert line.recv(100) == b"none"
            (line if number == 1 else served).close()
            assert (served if number == 1 else line).recv(100) == b""
    assert engine.paths == [f"/hostvm/agent?token={tokens['default']}"] * 2
    agent.close()


def test_an_agent_that_is_gone_ends_the_line(tmp_path: Path) -> None:
    engine = FakeEngine(most=1)
    lend(cast(Engine, engine), {"default": str(tmp_path / "nobody")})
    with engine.next() as line:
        line.sendall(b"keys?")
        assert line.recv(100) == b""
