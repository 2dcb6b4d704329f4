"""ssh agents that our own command line lends to its build, wherever the engine is.

An agent's path means nothing in a machine, or to an engine elsewhere. So the command line opens a *line*: a connection
that waits here, under a token that the build's request has, for somebody who asks the agent. Once a line is taken the
command line connects to the agent for it, and opens the next one. What is said goes both ways until either end is gone.
"""

from __future__ import annotations

import asyncio
from asyncio import FIRST_COMPLETED, StreamReader, StreamWriter
from collections import deque
from collections.abc import Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Protocol

from guest_agent.engine.agent_sockets import agent_socket
from guest_agent.engine.build_client import BuildClient
from guest_agent.wire.models import Credentials

#: Seconds that somebody who asks waits for a line: the command line has the next one ready as soon as one is taken.
_PATIENCE = 10.0
_PIECE = 32 << 10


class Duplex(Protocol):
    """The connection of a line."""

    async def read(self) -> bytes:
        """b"" at the end."""

    async def write(self, data: bytes) -> None: ...
    async def wait_gone(self) -> None: ...


class _Line:
    def __init__(self, duplex: Duplex) -> None:
        self.duplex = duplex
        self.is_over = asyncio.Event()


class LentAgents:
    """The lines that wait, by token, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[_Line]] = {}
        self._news = asyncio.Condition()

    async def lend(self, token: str, duplex: Duplex) -> None:
        """Keeps a line until it has served somebody, or its command line is gone."""
        line = _Line(duplex)
        lines = self._waiting.setdefault(token, deque())
        lines.append(line)
        try:
            async with self._news:
                self._news.notify_all()
            await _first_of(line.is_over.wait(), duplex.wait_gone())
        finally:
            if line in lines:
                lines.remove(line)
            if not lines:
                self._waiting.pop(token, None)

    async def carry(self, token: str, reader: StreamReader, writer: StreamWriter) -> None:
        """For somebody who asks; returns where no line comes in time, too."""
        try:
            async with asyncio.timeout(_PATIENCE):
                line = await self._take(token)
        except TimeoutError:
            return
        try:
            await _first_of(_ask(reader, line.duplex), _answer(line.duplex, writer))
        finally:
            line.is_over.set()

    async def _take(self, token: str) -> _Line:
        async with self._news:
            await self._news.wait_for(lambda: self._waiting.get(token))
            return self._waiting[token].popleft()


class CommandLine(BuildClient):
    """`agents`: an agent's id -> the token of its lines."""

    def __init__(self, credentials: Mapping[str, Credentials], agents: Mapping[str, str], lent: LentAgents) -> None:
        super().__init__(credentials)
        self._agents = agents
        self._lent = lent

    def agent(self, name: str, folder: str) -> AbstractAsyncContextManager[str]:
        token = self._agents.get(name)
        return agent_socket(folder, partial(self._lent.carry, token)) if token else nullcontext("")


async def _ask(reader: StreamReader, duplex: Duplex) -> None:
    while data := await reader.read(_PIECE):
        await duplex.write(data)


async def _answer(duplex: Duplex, writer: StreamWriter) -> None:
    while data := await duplex.read():
        writer.write(data)
        await writer.drain()


async def _first_of(*works: Coroutine[object, object, object]) -> None:
    """Until one has ended; the others are cancelled, and what one raised is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
