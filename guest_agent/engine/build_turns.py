"""Builds that run at the same time make a step that they have in common once: the others wait, and take its result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Turns:
    """One at a time for each key.

    Who has its turn never waits for another step of a build: a step's key follows from those before it, whose work is
    over by then. So no two of them can wait for each other.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, key: str) -> AsyncGenerator[None, None]:
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            yield
