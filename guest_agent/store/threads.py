"""Blocking work in threads, for callers that may be cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


async def finish_in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` gives. A thread can't be cancelled: where its caller is, the cancellation waits until it has ended.

    For work on what the caller gives back when it is cancelled: descriptors, mounts, folders. It must end by itself.
    """
    return await finish_in(None, lambda: work(*args, **kwargs))


async def open_in_thread(
    open_it: Callable[[], T], close: Callable[[T], object], abort: Callable[[], None] = lambda: None
) -> T:
    """What `open_it` gives, for the caller to close. Where the caller is cancelled, it is closed in a thread, too.

    The cancellation waits for both. `abort` makes the result come soon where the thread may wait for somebody. Should
    either fail, the log says so, and the caller is cancelled all the same: asyncio.timeout looks for nothing else.
    """
    return await finish_in(None, open_it, close, abort)


async def finish_in(
    executor: Executor | None,
    work: Callable[[], T],
    undo: Callable[[T], object] | None = None,
    abort: Callable[[], None] = lambda: None,
) -> T:
    """`open_in_thread` with threads of one's own; None = asyncio's."""
    running = asyncio.get_running_loop().run_in_executor(executor, work)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError as error:
            cancelled = error
            _or_log(abort)
    if cancelled is None:
        return running.result()
    if running.exception() is None and undo is not None:  # unasked, asyncio complains that nobody took the exception
        await finish_in(executor, partial(_or_log, partial(undo, running.result())))
    raise cancelled


def _or_log(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception:
        log.exception("what a cancelled caller leaves couldn't be put away")
