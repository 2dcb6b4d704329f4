"""Blocking generators of bytes, read from the event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

from guest_agent.store.threads import finish_in_thread


async def without_blocking(pieces: Generator[bytes, None, None]) -> AsyncGenerator[bytes, None]:
    """Each step in a thread. Closing the iterator closes the generator."""
    try:
        while piece := await finish_in_thread(next, pieces, b""):
            yield piece
    finally:
        await finish_in_thread(pieces.close)
