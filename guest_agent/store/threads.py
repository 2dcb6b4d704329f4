"""Blocking work in threads, for callers that may be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def finish_in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` gives. A thread can't be cancelled: where its caller is, the cancellation waits until it has ended.

    For work on what the caller gives back when it is cancelled: descriptors, mounts, folders. It must end by itself.
    """
    running = asyncio.get_running_loop().run_in_executor(None, lambda: work(*args, **kwargs))
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
