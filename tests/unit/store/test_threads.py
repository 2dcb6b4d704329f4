"""Who is cancelled while a thread works gives nothing back before the thread has ended."""

from __future__ import annotations

import asyncio
import threading

import pytest

from guest_agent.store.threads import finish_in_thread


def test_a_cancellation_waits_for_the_thread() -> None:
    """Or the descriptor that it writes to is somebody else's by then."""
    started, go_on, order = threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        started.set()
        go_on.wait()
        order.append("work")

    async def scenario() -> None:
        async def caller() -> None:
            try:
                await finish_in_thread(work)
            finally:
                order.append("given back")

        task = asyncio.create_task(caller())
        await asyncio.to_thread(started.wait)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert order == ["work", "given back"]


def test_results_and_errors_come_through() -> None:
    assert asyncio.run(finish_in_thread(divmod, 7, 2)) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(finish_in_thread(divmod, 7, 0))
