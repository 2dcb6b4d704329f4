"""From a build's tasks to its reader: progress objects, no more of them in memory than is useful."""

from __future__ import annotations

import asyncio

Report = dict[str, object]
#: A piece of a command's output has at most 64 KiB.
_MOST_WAITING = 64


class Reports:
    """`put` never waits, so that the order is the callers'; who has much to say waits for `room` between two pieces."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Report | None] = asyncio.Queue()
        self._taken = asyncio.Event()

    def put(self, report: Report) -> None:
        self._queue.put_nowait(report)

    def end(self) -> None:
        """Nothing more will come."""
        self._queue.put_nowait(None)

    async def room(self) -> None:
        """Until the reader has taken enough: a client that doesn't read stops what is said, not the engine."""
        while self._queue.qsize() >= _MOST_WAITING:
            self._taken.clear()
            await self._taken.wait()

    def take_all(self) -> list[Report]:
        """Those that wait."""
        waiting = []
        while not self._queue.empty():
            if (report := self._queue.get_nowait()) is not None:
                waiting.append(report)
        return waiting

    async def take(self) -> Report | None:
        """The next one; None at the end."""
        report = await self._queue.get()
        self._taken.set()
        return report
