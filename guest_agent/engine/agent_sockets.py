"""Sockets of our own for the time of a build's step, each connection to which is carried to the client's ssh agent."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Carry = Callable[[StreamReader, StreamWriter], Awaitable[None]]


@asynccontextmanager
async def agent_socket(folder: str, carry: Carry) -> AsyncGenerator[str, None]:
    """Its path in the folder, for the time of the block; what is carried at its end is cut off.

    `carry` returns when the agent has ended, or who asks it; an OSError says the same.
    """
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            with suppress(OSError):
                await carry(reader, writer)
        finally:
            connections.discard(task)
            writer.close()

    path = f"{folder}/agent"
    server = await asyncio.start_unix_server(serve, path)
    try:
        yield path
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
