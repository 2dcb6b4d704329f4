"""Lines to a user's ssh agent: each serves one who asks, in turn, and ends with either end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from guest_agent.engine import lent_agents
from guest_agent.engine.lent_agents import CommandLine, LentAgents

Use = Callable[[LentAgents, str], Awaitable[None]]


class Line:
    """The command line's end: an agent that answers in capitals."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[bytes] = asyncio.Queue()
        self.gone = asyncio.Event()

    async def read(self) -> bytes:
        asking = asyncio.ensure_future(self.asked.get())
        ending = asyncio.ensure_future(self.gone.wait())
        await asyncio.wait((asking, ending), return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        return asking.result().upper() if asking.done() else b""

    async def write(self, data: bytes) -> None:
        self.asked.put_nowait(data)

    async def wait_gone(self) -> None:
        await self.gone.wait()


def with_agent(folder: Path, use: Use) -> None:
    async def run() -> None:
        lent = LentAgents()
        async with asyncio.timeout(30), CommandLine({}, {"default": "t"}, lent).agent("default", str(folder)) as path:
            await use(lent, path)

    asyncio.run(run())


async def question(path: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"keys?")
    try:
        return await reader.read(100)
    finally:
        writer.close()


def test_each_line_serves_one(tmp_path: Path) -> None:
    """Who comes before there is a line waits for it."""

    async def use(lent: LentAgents, path: str) -> None:
        early = asyncio.create_task(question(path))
        await asyncio.sleep(0)
        await lent.lend("t", Line())
        assert await early == b"KEYS?"
        lines = [asyncio.create_task(lent.lend("t", Line())) for _ in range(2)]
        assert [await question(path), await question(path)] == [b"KEYS?"] * 2
        await asyncio.wait(lines)

    with_agent(tmp_path, use)


def test_a_line_whose_command_line_is_gone_is_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lent_agents, "_PATIENCE", 0.01)

    async def use(lent: LentAgents, path: str) -> None:
        line = Line()
        waiting = asyncio.create_task(lent.lend("t", line))
        await asyncio.sleep(0)
        line.gone.set()
        await waiting
        assert await question(path) == b"", "nobody serves it, and it isn't kept waiting"
        other = asyncio.create_task(lent.lend("other", Line()))
        assert await question(path) == b"", "lines of another build aren't for it"
        other.cancel()

    with_agent(tmp_path, use)


def test_an_agent_that_ends_ends_who_asks(tmp_path: Path) -> None:
    async def use(lent: LentAgents, path: str) -> None:
        line = Line()
        waiting = asyncio.create_task(lent.lend("t", line))
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"keys?")
        assert await reader.read(100) == b"KEYS?"
        line.gone.set()
        assert await reader.read(100) == b""
        writer.close()
        await waiting

    with_agent(tmp_path, use)


def test_an_agent_that_nobody_lends(tmp_path: Path) -> None:
    async def run() -> str:
        async with CommandLine({}, {}, LentAgents()).agent("default", str(tmp_path)) as path:
            return path

    assert asyncio.run(run()) == ""
