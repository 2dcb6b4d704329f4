"""Blocking generators of bytes, read from the event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from functools import partial

from guest_agent.store.threads import finish_in, finish_in_thread


async def without_blocking(
    pieces: Generator[bytes, None, None], abort: Callable[[], None] = lambda: None
) -> AsyncGenerator[bytes, None]:
    """Each step in a thread. Closing the iterator closes the generator.

    A cancellation waits for the step; `abort` makes it end soon where it may wait for somebody.
    """
    try:
        while piece := await finish_in(None, partial(next, pieces, b""), abort=abort):
            yield piece
    finally:
        await finish_in_thread(pieces.close)
