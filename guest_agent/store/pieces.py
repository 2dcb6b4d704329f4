"""Blocking generators of bytes, read from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator


async def without_blocking(pieces: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    """Each step in a thread. Closing the iterator closes the generator."""
    try:
        while piece := await asyncio.to_thread(next, pieces, b""):
            yield piece
    finally:
        await asyncio.to_thread(pieces.close)
