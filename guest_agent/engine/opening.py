"""What a thread opens and somebody must close, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def open_in_thread(
    open_it: Callable[[], T], close: Callable[[T], None], abort: Callable[[], None] = lambda: None
) -> T:
    """What `open_it` gives. A thread can't be cancelled: where its caller is, the result is closed when it comes.

    `abort` makes it come soon where the thread may wait for somebody.
    """
    opening = asyncio.get_running_loop().run_in_executor(None, open_it)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(lambda done: _close_result(done, close))
        abort()
        raise


def _close_result(done: asyncio.Future[T], close: Callable[[T], None]) -> None:
    if not done.cancelled() and done.exception() is None:
        close(done.result())
