"""Clients of the Docker API over a unix socket, each of which does one thing again and again.

They are asyncio tasks of one process that speak HTTP themselves: a hundred docker-py's would measure the crowd.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

#: Seconds that a client of a stream stays.
_STAY = 2.0
TALKER, IDLER = "talker", "idler"


class Refused(Exception):
    """An answer that the crowd didn't want."""


class Client:
    """One connection for each request, as most clients of the socket have it."""

    def __init__(self, path: str) -> None:
        self._path = path

    @contextlib.asynccontextmanager
    async def open(
        self, method: str, path: str, body: object = None
    ) -> AsyncIterator[tuple[int, asyncio.StreamReader]]:
        """The status, and the rest of the answer as it comes."""
        reader, writer = await asyncio.open_unix_connection(self._path, limit=1 << 20)
        try:
            data = b"" if body is None else json.dumps(body).encode()
            head = f"{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: {len(data)}\r\n"
            writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + data)
            lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
            yield int(lines[0].split()[1]), reader
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def ask(self, method: str, path: str, body: object = None) -> bytes:
        """A whole answer's body, chunked or not. Raises Refused."""
        async with self.open(method, path, body) as (status, reader):
            data = await reader.read()
        if status >= 400:
            raise Refused(f"{method} {path}: {status} {data[:300]!r}")
        return data

    async def json(self, method: str, path: str, body: object = None) -> Any:
        return json.loads(await self.ask(method, path, body))

    async def watch(self, path: str) -> int:
        """Reads a stream for a while and goes away in the middle of it; how many bytes came."""
        size = 0
        async with self.open("GET", path) as (status, reader):
            if status != 200:
                raise Refused(f"GET {path}: {status}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STAY):
                    while data := await reader.read(1 << 16):
                        size += len(data)
        return size


async def list_all(client: Client) -> None:
    await client.json("GET", "/containers/json?all=1")
    await client.json("GET", f"/containers/{IDLER}/json")


async def run_one(client: Client) -> None:
    made = await client.json("POST", "/containers/create", {"Image": "busybox", "Cmd": ["echo", "hello"]})
    one = f"/containers/{made['Id']}"
    try:
        await client.ask("POST", f"{one}/start")
        await client.ask("POST", f"{one}/wait")
        await client.ask("GET", f"{one}/logs?stdout=1")
    finally:
        await client.ask("DELETE", f"{one}?force=1")


async def execute(client: Client) -> None:
    made = await client.json("POST", f"/containers/{IDLER}/exec", {"Cmd": ["true"], "AttachStdout": True})
    await client.ask("POST", f"/exec/{made['Id']}/start", {})


async def follow_logs(client: Client) -> None:
    await client.watch(f"/containers/{TALKER}/logs?follow=1&stdout=1&tail=10")


async def watch_stats(client: Client) -> None:
    await client.watch(f"/containers/{IDLER}/stats?stream=1")


JOBS: tuple[Callable[[Client], Awaitable[None]], ...] = (list_all, run_one, execute, follow_logs, watch_stats)


async def prepare(path: str) -> None:
    """The two containers that the crowd looks at; their log is limited, because what fills a disk is no leak."""
    client = Client(path)
    talk = "while true; do echo something to read; sleep 0.02; done"
    limited = {"LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}}
    for name, words in ((TALKER, ["sh", "-c", talk]), (IDLER, ["sleep", "3600"])):
        body = {"Image": "busybox", "Cmd": words, "StopTimeout": 0, "HostConfig": limited}
        await client.ask("POST", f"/containers/create?name={name}", body)
        await client.ask("POST", f"/containers/{name}/start")


async def crowd(path: str, size: int, seconds: float) -> Counter[str]:
    """`size` clients, a fifth for each job, for that time; how often each job was done. Raises what a client raised."""
    done: Counter[str] = Counter()
    over = asyncio.Event()

    async def work(job: Callable[[Client], Awaitable[None]]) -> None:
        client = Client(path)
        while not over.is_set():
            await job(client)
            done[getattr(job, "__name__", "")] += 1

    async with asyncio.TaskGroup() as tasks:
        for number in range(size):
            tasks.create_task(work(JOBS[number % len(JOBS)]))
        await asyncio.sleep(seconds)
        over.set()
    return done
