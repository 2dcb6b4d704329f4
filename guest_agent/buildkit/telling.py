"""A job's status for all who watch it: each hears it from its beginning, and what is kept for them has an end.

Theory of operation. Messages have numbers; a watcher is the number that it hears next. Beyond `_KEPT` bytes the oldest
one that everybody has heard is forgotten. Nearly all of it is what commands write: that is lost to who comes later,
the lines aren't, since the last state of each that was forgotten is told first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from guest_agent.buildkit.messages import StatusResponse, Vertex

#: Bytes of messages that are kept while the job runs, and of one that is over.
_KEPT, _KEPT_AFTERWARDS = 4 << 20, 64 << 10
#: What a message costs beside its text, in the same measure.
_MESSAGE_COST = 512
#: Messages that may wait for a watcher; a command's output comes in pieces of up to 64 KiB.
_MOST_WAITING = 256


@dataclass(eq=False, slots=True)
class _Watcher:
    next: int


class Telling:
    """`put` never waits; who has much to say waits for `room` between two messages."""

    def __init__(self) -> None:
        self._kept: deque[StatusResponse] = deque()
        self._forgotten = 0  #: number of the first that is kept
        self._lines_before: dict[str, Vertex] = {}
        self._cost, self._limit = 0, _KEPT
        self._watchers: set[_Watcher] = set()
        self._over = False
        self._changed, self._heard = asyncio.Event(), asyncio.Event()

    def put(self, response: StatusResponse) -> None:
        self._kept.append(response)
        self._cost += _cost(response)
        self._forget()
        self._changed.set()

    def end(self) -> None:
        """Nothing more will come."""
        self._over, self._limit = True, _KEPT_AFTERWARDS
        self._forget()
        self._changed.set()

    async def watch(self) -> AsyncGenerator[StatusResponse, None]:
        """From the beginning until the job is over."""
        watcher = _Watcher(self._forgotten)
        self._watchers.add(watcher)
        try:
            if self._lines_before:
                yield StatusResponse(tuple(self._lines_before.values()))
            while True:
                while watcher.next < self._count:
                    yield self._take(watcher)
                if self._over:
                    return
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._watchers.remove(watcher)
            self._forget()
            self._heard.set()

    async def room(self) -> None:
        """Until all have heard enough: a client that doesn't read makes its build wait."""
        while any(self._count - watcher.next >= _MOST_WAITING for watcher in self._watchers):
            self._heard.clear()
            await self._heard.wait()

    @property
    def _count(self) -> int:
        return self._forgotten + len(self._kept)

    def _take(self, watcher: _Watcher) -> StatusResponse:
        response = self._kept[watcher.next - self._forgotten]
        watcher.next += 1
        self._forget()
        self._heard.set()
        return response

    def _forget(self) -> None:
        heard = min((watcher.next for watcher in self._watchers), default=self._count)
        while self._cost > self._limit and self._forgotten < heard:
            oldest = self._kept.popleft()
            self._forgotten += 1
            self._cost -= _cost(oldest)
            self._lines_before |= {vertex.digest: vertex for vertex in oldest.vertexes}


def _cost(response: StatusResponse) -> int:
    return _MESSAGE_COST + sum(len(log.msg) for log in response.logs)
