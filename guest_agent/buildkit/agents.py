"""RUN --mount=type=ssh: sockets of our own, each connection to which is carried to the client's ssh agent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from guest_agent.buildkit.sessions import ClientSession
from guest_agent.rpc.peer import Call
from guest_agent.rpc.status import CallFailed
from guest_agent.wire.errors import PeerMisbehaved

_PIECE = 32 << 10


@asynccontextmanager
async def forwarded(
    session: ClientSession, names: Iterable[str], folder: str
) -> AsyncGenerator[Mapping[str, str], None]:
    """Agent's id -> path of a socket in `folder`, for the time of the block; only of those that the client has."""
    async with AsyncExitStack() as undo:
        sockets = {}
        for number, name in enumerate(names):
            if await session.has_agent(name):
                sockets[name] = f"{folder}/{number}"
                await undo.enter_async_context(_served(session, name, sockets[name]))
        yield sockets


@asynccontextmanager
async def _served(session: ClientSession, name: str, path: str) -> AsyncGenerator[None, None]:
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await _carry(session, name, reader, writer)
        except* (CallFailed, PeerMisbehaved, OSError):
            pass  # the agent, or who asks it, is gone: the socket's end says so
        finally:
            connections.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(serve, path)
    os.chmod(path, 0o600)
    try:
        yield
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _carry(session: ClientSession, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the agent has ended, or fails; or who asks it is gone with an answer unread."""
    async with session.agent(name) as call, asyncio.TaskGroup() as group:
        asking = group.create_task(_ask(session, call, reader))
        while (data := await session.heard(call)) is not None:
            writer.write(data)
            await writer.drain()
        asking.cancel()


async def _ask(session: ClientSession, call: Call, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(_PIECE):
        await session.say(call, data)
    call.end_input()
