"""Who is cancelled while a thread works gives nothing back before the thread has ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import pytest

from guest_agent.store.threads import finish_in, finish_in_thread, open_in_thread

P = ParamSpec("P")
T = TypeVar("T")


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


@pytest.mark.parametrize("comes_first", ["result", "abort"])
def test_what_nobody_waits_for_is_closed_before_the_cancellation_goes_on(comes_first: str) -> None:
    """Closing may block, too: it isn't the loop's thread that does it."""
    started, go_on, order = threading.Event(), threading.Event(), list[str]()
    abort = go_on.set if comes_first == "abort" else lambda: None

    def open_it() -> str:
        started.set()
        go_on.wait()
        return "tree"

    def close(opened: str) -> None:
        assert threading.current_thread() is not threading.main_thread()
        order.append(f"{opened} closed")

    async def scenario() -> None:
        async def caller() -> None:
            try:
                await open_in_thread(open_it, close, abort)
            finally:
                order.append("given back")

        task = asyncio.create_task(caller())
        await asyncio.to_thread(started.wait)
        task.cancel()
        await asyncio.sleep(0)
        if comes_first == "result":
            assert not order
            go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert order == ["tree closed", "given back"]


def test_the_callers_own_result_stays_open() -> None:
    closed: list[str] = []
    assert asyncio.run(open_in_thread(lambda: "tree", closed.append)) == "tree" and not closed


@pytest.mark.parametrize("fails", ["abort", "close"])
def test_a_failure_on_the_way_out_is_logged_and_the_caller_cancelled(
    fails: str, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio.timeout makes a TimeoutError of a CancelledError, and of nothing else."""
    go_on = threading.Event()

    def open_it() -> str:
        go_on.wait()
        return "tree"

    def fail(which: str) -> None:
        go_on.set()
        if which == fails:
            raise OSError(f"{which} failed")

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await open_in_thread(open_it, lambda _opened: fail("close"), lambda: fail("abort"))

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert f"{fails} failed" in caplog.text


def test_what_needs_no_undo_takes_one_trip_to_the_thread() -> None:
    """A second one would wait behind whatever else the executor has to do."""
    trips: list[str] = []

    class Counting(ThreadPoolExecutor):
        def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
            trips.append("trip")
            return super().submit(fn, *args, **kwargs)

    async def scenario(executor: Executor) -> None:
        go_on = threading.Event()
        task = asyncio.create_task(finish_in(executor, go_on.wait, abort=go_on.set))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Counting(1) as executor:
        asyncio.run(asyncio.wait_for(scenario(executor), 30))
    assert trips == ["trip"]


def test_where_nothing_was_opened_nothing_is_closed() -> None:
    started, go_on, closed = threading.Event(), threading.Event(), list[str]()

    def open_it() -> str:
        started.set()
        go_on.wait()
        raise FileNotFoundError

    async def scenario() -> None:
        task = asyncio.create_task(open_in_thread(open_it, closed.append, go_on.set))
        await asyncio.to_thread(started.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert not closed
