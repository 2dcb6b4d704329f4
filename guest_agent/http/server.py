"""Serves the Engine API on a unix socket that is already listening (the keeper holds it through our restarts)."""

from __future__ import annotations

import asyncio
import logging
import socket

from guest_agent.api.application import EngineApplication
from guest_agent.api.contract import Engine
from guest_agent.api.messages import Application
from guest_agent.http.connection import Connection

log = logging.getLogger(__name__)

#: As the keeper's listen(): the kernel cuts it to net.core.somaxconn.
BACKLOG = 4096
#: Seconds that whole answers under way get at shutdown; streams are cut off at once. `docker stop` waits 10.
GRACE = 15.0


class Server:
    """Every connection of one application. `stopping` tells connections not to begin another request."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self.connections: set[Connection] = set()
        self.stopping = False

    async def run(self, listener: socket.socket, stopping: asyncio.Event) -> None:
        """Accepts until `stopping` is set; returns when every connection has ended. Takes over `listener`."""
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(self._connect, sock=listener, backlog=BACKLOG)
        try:
            await stopping.wait()
        finally:
            self.stopping = True
            server.close()
            await self._end_connections()

    def _connect(self) -> Connection:
        return Connection(self, self._application)

    async def _end_connections(self) -> None:
        for connection in tuple(self.connections):
            connection.shut_down()
        if not await self._wait_for_tasks(GRACE):
            log.warning("%d requests were still running at shutdown; cancelled", len(self._tasks()))
            for task in self._tasks():
                task.cancel()
            await self._wait_for_tasks(GRACE)
        for connection in tuple(self.connections):
            connection.shut_down()

    def _tasks(self) -> set[asyncio.Task[None]]:
        return {connection.task for connection in self.connections if connection.task is not None}

    async def _wait_for_tasks(self, seconds: float) -> bool:
        tasks = self._tasks()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        return not self._tasks()


async def serve(listener: socket.socket, engine: Engine, stopping: asyncio.Event) -> None:
    """Serve `engine` on a listening AF_UNIX stream socket, which is taken over, until `stopping` is set.

    Returns when every request has been answered or cut off. Needs nothing else of the process.
    """
    await Server(EngineApplication(engine)).run(listener, stopping)
