"""Connections to a client's ssh agent, and how they end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from guest_agent.buildkit import agents
from guest_agent.buildkit.agents import forwarded
from guest_agent.buildkit.messages import Bytes
from guest_agent.buildkit.sessions import ClientSession
from guest_agent.rpc.peer import Call, Handler
from guest_agent.rpc.protobuf import decode, encode
from guest_agent.rpc.status import CallFailed, Code
from tests.unit.buildkit.pretended import connected

_CHECK, _AGENT = "/moby.sshforward.v1.SSH/CheckAgent", "/moby.sshforward.v1.SSH/ForwardAgent"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _have(call: Call) -> None:
    await call.send(b"")


async def _nothing() -> None:
    pass


def forward(
    folder: Path,
    agent: Handler,
    use: Callable[[str], Awaitable[None]],
    then: Callable[[], Awaitable[None]] = _nothing,
) -> list[str]:
    """What the event loop had to complain of, e.g. errors that nobody has looked at. `then` comes after the block."""
    complaints: list[str] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: complaints.append(str(context)))
        async with asyncio.timeout(30), connected({}, {_CHECK: _have, _AGENT: agent}) as (peer, _):
            async with forwarded(ClientSession(peer), "default", str(folder)) as path:
                await use(path)
            assert not any(agents.__file__ in repr(task) for task in asyncio.all_tasks())
            await then()
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(run())
    return complaints


def test_who_asks_may_break_off(tmp_path: Path) -> None:
    """A program that ends with an answer unread resets its connection: the agent's call ends with it, not later."""
    ended = asyncio.Event()

    async def agent(call: Call) -> None:
        try:
            await call.receive()
            await call.send(encode(Bytes(bytes(300_000))))
            while await call.receive() is not None:
                pass
        finally:
            ended.set()

    async def use(path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"question")
        await reader.read(1)
        writer.transport.abort()
        await ended.wait()

    assert forward(tmp_path, agent, use) == []


def test_an_agent_that_takes_nothing(tmp_path: Path) -> None:
    """What is said to it fails, and whoever asked hears of it."""

    async def agent(call: Call) -> None:
        await call.receive()
        raise CallFailed(Code.UNAVAILABLE, "the agent is gone")

    async def use(path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"question" * 100_000)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()

    assert forward(tmp_path, agent, use) == []


def test_an_agent_that_answers_nonsense(tmp_path: Path) -> None:
    async def agent(call: Call) -> None:
        await call.send(b"\xff")
        await call.receive()

    async def use(path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        assert await reader.read() == b""
        writer.close()

    assert forward(tmp_path, agent, use) == []


def test_what_was_asked_is_answered_though_nothing_more_follows(tmp_path: Path) -> None:
    async def agent(call: Call) -> None:
        asked = b""
        while (message := await call.receive()) is not None:
            asked += decode(Bytes, message).data
        await call.send(encode(Bytes(asked.upper())))

    async def use(path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"question")
        writer.write_eof()
        assert await reader.read() == b"QUESTION"
        writer.close()

    assert forward(tmp_path, agent, use) == []


def test_nothing_is_carried_when_the_block_is_left(tmp_path: Path) -> None:
    """`forward` looks for tasks that are left."""
    lines: list[Streams] = []

    async def agent(call: Call) -> None:
        while (message := await call.receive()) is not None:
            await call.send(message)

    async def use(path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"question")
        assert await reader.read(100) == b"question"
        lines.append((reader, writer))

    async def hear_the_end() -> None:
        ((reader, writer),) = lines
        assert await reader.read() == b""
        writer.close()

    assert forward(tmp_path, agent, use, hear_the_end) == []
