"""A container's root stays while somebody looks at it: an export of one that was just ending found nothing there."""

from __future__ import annotations

import asyncio
from typing import cast

from guest_agent.engine.live import Live
from guest_agent.engine.output import OutputLog

PATIENCE = 60.0


def test_the_root_is_unread_when_the_last_reader_has_gone() -> None:
    async def run() -> None:
        live = Live(cast(OutputLog, None))
        await live.unread(PATIENCE)
        with live.reading():
            with live.reading():
                waiting = asyncio.ensure_future(live.unread(PATIENCE))
            await asyncio.sleep(0)
            assert not waiting.done()
        await waiting

    asyncio.run(run())


def test_who_reads_for_long_is_waited_for_no_longer_than_that() -> None:
    async def run() -> None:
        live = Live(cast(OutputLog, None))
        with live.reading():
            await live.unread(0.0)

    asyncio.run(run())
