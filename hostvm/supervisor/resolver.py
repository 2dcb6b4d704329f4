"""The guest's search domains follow the host's. Its name server is QEMU's, which asks the host's servers of the day."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from guest_agent.wire.errors import HostvmError
from hostvm.names.resolver import Resolver, read_resolver, resolver_mark

#: Seconds between two looks at one file's time stamp.
LOOK = 5.0
#: Seconds until a guest that doesn't answer is told again: one that resumes answers other things first.
AGAIN = 0.5


class GuestResolver:
    """`tell` gives the guest its domains, and raises HostvmError while it doesn't answer.

    A guest that was resumed may have those of another day, so each supervisor tells once in any case.
    """

    def __init__(
        self,
        tell: Callable[[list[str]], Awaitable[object]],
        read: Callable[[], Resolver] = read_resolver,
        mark: Callable[[], tuple[int, int]] = resolver_mark,
    ) -> None:
        self._tell = tell
        self._read = read
        self._mark = mark
        self._told: tuple[int, int] | None = None

    async def keep(self, is_running: Callable[[], bool]) -> None:
        """For ever."""
        while True:
            known = not is_running() or await self.check()
            await asyncio.sleep(LOOK if known else AGAIN)

    async def check(self) -> bool:
        """Tells the guest what it hasn't been told. False where it doesn't answer."""
        mark = self._mark()
        if mark == self._told:
            return True
        resolver = await asyncio.to_thread(self._read)
        try:
            await self._tell(list(resolver.search))
        except HostvmError:
            return False
        self._told = mark
        return True
