"""The guest's clock: right within a second after the host slept, was set, or QEMU stood still.

The guest keeps time by itself; what it can't know is that time passed while it didn't run. So the host's two clocks
are compared once a second, which costs nothing and wakes nobody in the guest: when the wall clock went on and the
monotonic one didn't, the guest is asked. It is also asked after every resume, and now and then anyway.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from guest_agent.wire.errors import HostvmError

#: Seconds that the guest's clock may be off.
TOLERANCE = 0.1
_LOOK = 1.0
_ASK = 10.0
#: A busy host may take seconds to deliver the time.
_TRIES = 3


class HostClock:
    """Notices when this host's wall clock jumped."""

    def __init__(self, wall: float, steady: float) -> None:
        self._offset = wall - steady

    def have_jumped(self, wall: float, steady: float) -> bool:
        """Since the last call."""
        before, self._offset = self._offset, wall - steady
        return abs(self._offset - before) > TOLERANCE / 2


class GuestClock:
    """`offset` asks how far the guest is ahead, `correct` sets it; both raise HostvmError while it doesn't answer."""

    def __init__(self, offset: Callable[[], Awaitable[float]], correct: Callable[[], Awaitable[None]]) -> None:
        self._offset = offset
        self._correct = correct
        self._asked = 0.0

    async def keep(self, is_running: Callable[[], bool]) -> None:
        """For ever."""
        host = HostClock(time.time(), time.monotonic())
        while True:
            await asyncio.sleep(_LOOK)
            now = time.monotonic()
            jumped = host.have_jumped(time.time(), now)
            if is_running() and (jumped or now - self._asked >= _ASK):
                self._asked = now
                await self.check()

    async def check(self) -> None:
        """Sets the guest's clock where it is wrong, again where the way there took too long to be right."""
        try:
            for _ in range(_TRIES):
                if abs(await self._offset()) <= TOLERANCE:
                    return
                await self._correct()
        except HostvmError:
            self._asked = 0.0  # at the next look again
