"""The event bus: publishes to all subscribers, remembers the last 256 as dockerd does (daemon/events: eventsLimit)."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping

from guest_agent.wire.models import Event

_REMEMBERED = 256

#: A subscriber that is this far behind loses the oldest: a stalled client must not hold memory for ever.
_QUEUE_LIMIT = 4096


class EventBus:
    """Publishing never waits."""

    def __init__(self) -> None:
        self._past: deque[Event] = deque(maxlen=_REMEMBERED)
        self._subscribers: set[asyncio.Queue[Event]] = set()
        self._listeners: list[Callable[[Event], None]] = []

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call it at each event, at once and as long as the bus lives. It MUST NOT wait, nor raise."""
        self._listeners.append(listener)

    def publish(self, kind: str, action: str, actor_id: str, attributes: Mapping[str, str]) -> None:
        """Tell everybody that `action` happened to the actor, at this moment."""
        event = Event(kind, action, actor_id, dict(attributes), time.time_ns())
        self._past.append(event)
        for queue in self._subscribers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)
        for listener in self._listeners:
            listener(event)

    async def subscribe(self, since_ns: int = 0, until_ns: int = 0) -> AsyncIterator[Event]:
        """Past events between the two times (none where neither is said), then live ones until `until_ns`.

        0 says nothing: from the first that is remembered, for ever.
        """
        queue: asyncio.Queue[Event] = asyncio.Queue(_QUEUE_LIMIT)
        self._subscribers.add(queue)
        try:
            for event in self._between(since_ns, until_ns) if since_ns or until_ns else []:
                yield event
            while (live := await _next_before(queue, until_ns)) is not None:
                yield live
        finally:
            self._subscribers.discard(queue)

    def _between(self, since_ns: int, until_ns: int) -> list[Event]:
        return [one for one in self._past if one.time_ns >= since_ns and (not until_ns or one.time_ns <= until_ns)]


async def _next_before(queue: asyncio.Queue[Event], until_ns: int) -> Event | None:
    """What is in the queue already came in time or not, however late its reader is."""
    if not until_ns:
        return await queue.get()
    try:
        remaining = (until_ns - time.time_ns()) / 1e9
        if queue.empty() and remaining <= 0:
            return None
        event = await asyncio.wait_for(queue.get(), remaining) if queue.empty() else queue.get_nowait()
    except TimeoutError:
        return None
    return event if event.time_ns <= until_ns else None
