"""The agent's event loop: epoll and a table of handlers. asyncio costs ten times as much for each event under TCG."""

from __future__ import annotations

import select
import sys
import traceback
from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
HANG_UP = select.EPOLLHUP | select.EPOLLERR

Handler = Callable[[int], None]

#: Seconds after which `later` calls.
_LATER = 0.05


class Loop:
    """Level-triggered. A handler is called with the events of its descriptor (epoll(7))."""

    def __init__(self) -> None:
        self.after_each: Callable[[], None] = lambda: None
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._due: list[Callable[[], None]] = []

    def later(self, work: Callable[[], None]) -> None:
        """Calls it in a moment: for what is tried again."""
        self._due.append(work)

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        """`events` 0: not at all any more, which is due before the descriptor is closed."""
        known = descriptor in self._handlers
        if not events:
            if known:
                del self._handlers[descriptor]
                self._epoll.unregister(descriptor)
            return
        self._handlers[descriptor] = handler
        if known:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)

    def run(self) -> None:
        """For ever. A bug in the handling of one stream must not end all others."""
        while True:
            try:
                self.turn()
            except Exception:
                traceback.print_exc(file=sys.stderr)

    def turn(self) -> None:
        handlers = self._handlers
        found = self._epoll.poll(_LATER if self._due else None)
        for descriptor, events in found:
            handler = handlers.get(descriptor)
            if handler is not None:
                handler(events)
        if self._due and not found:
            self._do_what_is_due()
        self.after_each()

    def _do_what_is_due(self) -> None:
        due, self._due = self._due, []
        for work in due:
            work()
