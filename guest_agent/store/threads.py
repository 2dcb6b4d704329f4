"""Blocking work in threads, for callers that may be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def finish_in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` gives. A thread can't be cancelled: where its caller is, the cancellation waits until it has ended.

    For work on what the caller gives back when it is cancelled: descriptors, mounts, folders. It must end by itself.
    """
    return await finish_in(None, lambda: work(*args, **kwargs))


async def finish_in(executor: Executor | None, work: Callable[[], T]) -> T:
    """`finish_in_thread` with threads of one's own; None = asyncio's."""
    running = asyncio.get_running_loop().run_in_executor(executor, work)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        running.exception()  # asked for, or asyncio complains that nobody did
        raise cancelled
    return running.result()
