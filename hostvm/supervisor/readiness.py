"""How far the guest has come, as its init tells unasked, and waiting for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from guest_agent.wire.errors import HostvmError, Unavailable, error_of_record
from hostvm.supervisor.guest import Message

#: Seconds for the engine to be ready once it has its data: a damaged disk is looked through meanwhile.
ENGINE_DEADLINE = 180.0


class Readiness:
    """Of one machine: `begin` with each life. `name` is the machine's, for hints."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.begin()

    def begin(self) -> None:
        """Nothing of a former life counts."""
        self.failure: HostvmError | None = None  #: why there is no engine
        self._warm = asyncio.Event()
        self._engine = asyncio.Event()

    def hear(self, message: Mapping[str, object]) -> None:
        """An event of the guest's init; those that aren't about this are none of ours."""
        event = message.get("event")
        if event == "warm":
            self._warm.set()
        elif event == "ready":
            self._engine.set()
        elif event == "engine-failed":
            self.failure = error_of_record(message)
            self._engine.set()

    async def wait_warm(self, status: Message) -> None:
        """Until everything in the guest has imported what it needs. `status`: init's, of now. Raises Unavailable."""
        if status.get("stage") != "warm":
            await self._wait(self._warm, "the guest's programs")

    async def wait_engine(self, status: Message) -> None:
        """Until the engine answers. Raises what kept it from that, or Unavailable."""
        failure = status.get("failure")
        if isinstance(failure, dict):
            raise error_of_record(failure)
        if status.get("engine") != "ready":
            await self._wait(self._engine, "the engine")
        if self.failure is not None:
            raise self.failure

    async def _wait(self, event: asyncio.Event, what: str) -> None:
        try:
            await asyncio.wait_for(event.wait(), ENGINE_DEADLINE)
        except TimeoutError:
            raise Unavailable(
                f"the machine runs, but {what} didn't start within {ENGINE_DEADLINE:g} s",
                f"`hostvm machine logs {self._name}` shows what the guest said",
            ) from None
