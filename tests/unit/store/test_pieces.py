"""Generators that block: who is cancelled while a thread takes the next piece closes them after it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import aclosing

import pytest

from guest_agent.store.pieces import without_blocking


def test_a_cancelled_reader_closes_the_generator() -> None:
    """A generator that is at work in another thread can't be closed: Python raises ValueError."""
    started, go_on, closed = threading.Event(), threading.Event(), list[bool]()

    def blocking() -> Generator[bytes, None, None]:
        try:
            started.set()
            go_on.wait()
            yield b"piece"
        finally:
            closed.append(go_on.is_set())

    async def read() -> None:
        async with aclosing(without_blocking(blocking())) as pieces:
            await anext(pieces)

    async def scenario() -> None:
        task = asyncio.create_task(read())
        await asyncio.to_thread(started.wait)
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.to_thread(lambda: None)  # which comes after a thread that closes too early
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert closed == [True]
