"""What a pull and a push have in common: a task that tells of itself, and ends with whoever listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

from guest_agent.images.progress import Progress
from guest_agent.images.transport import Transport


class Transfer(Protocol):
    """`run` does it, once; it puts None into `progress` when it ends, however that is."""

    transport: Transport
    progress: asyncio.Queue[Progress | None]

    async def run(self) -> None: ...


async def follow(transfer: Transfer) -> AsyncGenerator[Progress, None]:
    """Its progress to the end. Raises what `run` raises; closing the iterator cancels."""
    task = asyncio.create_task(transfer.run())
    try:
        while (progress := await transfer.progress.get()) is not None:
            yield progress
        await task
    finally:
        transfer.transport.abort()
        task.cancel()  # layers have connections of their own, which end with the last one that waits for them
        await asyncio.wait([task])
        task.cancelled() or task.exception()  # retrieved: the caller has it, or has gone
