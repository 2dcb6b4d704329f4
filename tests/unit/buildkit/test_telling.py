"""Who watches a job hears all of it, however many they are; but nothing grows without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import pytest

from guest_agent.buildkit import telling
from guest_agent.buildkit.messages import StatusResponse, Timestamp, Vertex, VertexLog
from guest_agent.buildkit.telling import Telling


def run(work: Callable[[Telling], Awaitable[None]]) -> None:
    async def timed() -> None:
        async with asyncio.timeout(30):
            await work(Telling())

    asyncio.run(timed())


def a_line(name: str, completed: Timestamp | None = None) -> StatusResponse:
    return StatusResponse((Vertex(name, completed=completed),))


def output(size: int) -> StatusResponse:
    return StatusResponse(logs=(VertexLog("a", msg=b"x" * size),))


async def hear(source: AsyncGenerator[StatusResponse, None]) -> list[StatusResponse]:
    async with aclosing(source) as told:
        return [response async for response in told]


def test_each_watcher_hears_the_whole_from_its_beginning() -> None:
    """A second one was refused; before that, each message went to one of them."""

    async def work(status: Telling) -> None:
        status.put(a_line("a"))
        async with aclosing(status.watch()) as first:
            assert await anext(first) == a_line("a")
            second = asyncio.create_task(hear(status.watch()))
            status.put(a_line("b"))
            assert await anext(first) == a_line("b")
            status.end()
        assert await second == await hear(status.watch()) == [a_line("a"), a_line("b")]

    run(work)


def test_the_oldest_is_forgotten_but_for_the_state_of_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_KEPT", 20_000)
    done = a_line("a", Timestamp(7))

    async def work(status: Telling) -> None:
        for response in (a_line("a"), output(9_000), done, output(9_000), output(9_000), output(9_000)):
            status.put(response)
        status.end()
        assert await hear(status.watch()) == [done, *[output(9_000)] * 2]

    run(work)


def test_what_a_watcher_has_still_to_hear_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says much waits for it instead; also the end of a job takes nothing away."""
    monkeypatch.setattr(telling, "_KEPT", 0)
    monkeypatch.setattr(telling, "_KEPT_AFTERWARDS", 0)
    monkeypatch.setattr(telling, "_MOST_WAITING", 3)

    async def work(status: Telling) -> None:
        await status.room()
        status.put(a_line("a"))
        async with aclosing(status.watch()) as slow:
            assert await anext(slow) == a_line("a")
            for size in range(3):
                status.put(output(size))
            waiting = asyncio.create_task(status.room())
            await asyncio.sleep(0)
            assert not waiting.done()
            assert await anext(slow) == output(0)
            await waiting
            status.end()
            assert [response async for response in slow] == [output(1), output(2)]
        assert await hear(status.watch()) == [a_line("a")]

    run(work)
