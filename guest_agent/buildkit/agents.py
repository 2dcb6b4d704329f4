"""RUN --mount=type=ssh: what is said to the step's agent is carried to the client's, through its session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from guest_agent.buildkit.sessions import ClientSession
from guest_agent.engine.agent_sockets import agent_socket
from guest_agent.rpc.peer import Call
from guest_agent.rpc.status import CallFailed
from guest_agent.wire.errors import PeerMisbehaved

_PIECE = 32 << 10


@asynccontextmanager
async def forwarded(session: ClientSession, name: str, folder: str) -> AsyncGenerator[str, None]:
    """The path of a socket in the folder, for the time of the block; "" if the client has no such agent."""
    if not await session.has_agent(name):
        yield ""
        return

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _carry(session, name, reader, writer)
        except* (CallFailed, PeerMisbehaved, OSError):
            pass  # the agent, or who asks it, is gone: the socket's end says so

    async with agent_socket(folder, carry) as path:
        yield path


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
