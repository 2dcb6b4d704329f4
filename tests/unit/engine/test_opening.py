"""A thread's result is closed where nobody waits for it any more."""

from __future__ import annotations

import asyncio
import threading

import pytest

from guest_agent.engine.opening import open_in_thread


def test_who_is_cancelled_leaves_nothing_open() -> None:
    closed: list[str] = []
    started, go_on = threading.Event(), threading.Event()

    def open_it() -> str:
        started.set()
        go_on.wait()
        return "tree"

    async def scenario() -> None:
        is_closed = asyncio.Event()

        def close(opened: str) -> None:
            closed.append(opened)
            is_closed.set()

        task = asyncio.create_task(open_in_thread(open_it, close))
        await asyncio.to_thread(started.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not closed
        go_on.set()
        await is_closed.wait()

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert closed == ["tree"]


def test_the_callers_own_result_stays_open() -> None:
    closed: list[str] = []
    assert asyncio.run(open_in_thread(lambda: "tree", closed.append)) == "tree" and not closed
