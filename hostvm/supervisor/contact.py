"""The way to the guest: the channel, init at its other end, and how far init says that it has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from guest_agent.wire.errors import HostvmError
from hostvm.supervisor.channel import Channel
from hostvm.supervisor.guest import Guest
from hostvm.supervisor.journal import say
from hostvm.supervisor.readiness import Readiness

#: Seconds for a resumed guest to answer: 0.1 on an idle host.
RESUME_DEADLINE = 20.0
#: Seconds for a guest to fall silent before it is saved.
_FREEZE_DEADLINE = 5.0


class Contact:
    """Of one machine, through all of its lives. `name` is the machine's, for hints.

    `reach` hears of the stages that init tells of. `connected` is called when the agent has come back by itself: the
    control stream has gone with all others.
    """

    def __init__(self, socket: str, name: str, reach: Callable[[str], None], connected: Callable[[], None]) -> None:
        self.channel = Channel(socket, connected=connected)
        self.guest = Guest(self._heard)
        self.readiness = Readiness(name)
        self._reach = reach
        self._running: asyncio.Task[None] | None = None

    async def open(self, deadline: float) -> None:
        """Has the channel up. Raises Unavailable where it isn't within `deadline` seconds."""
        self._running = asyncio.ensure_future(self.channel.run())
        await self.channel.wait_up(deadline)

    async def attach(self) -> None:
        """Opens the control stream. Raises Unavailable."""
        await self.guest.attach(self.channel)

    async def renew(self) -> None:
        """A control stream for a guest that ran all along, whose clock may have stood. Failing is only said."""
        try:
            await self.attach()
            await self.guest.set_time()
        except HostvmError as error:
            say(f"the guest's init isn't reached: {error.message}")

    async def freeze(self) -> None:
        """Nothing is under way any more, and the guest can be saved. Raises Unavailable."""
        await self.channel.freeze(_FREEZE_DEADLINE)

    async def thaw(self) -> None:
        """After a `freeze`, of a guest that runs on. Raises Unavailable."""
        self.channel.thaw()
        await self.channel.wait_up(RESUME_DEADLINE)
        await self.attach()

    async def close(self) -> None:
        """The guest has gone, or is about to go."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
            self._running = None

    def _heard(self, message: Mapping[str, object]) -> None:
        if message.get("event") == "stage":
            self._reach(str(message.get("stage"))[:40])
        self.readiness.hear(message)
