"""Notices when somebody changes the host's firewall: a docker that starts after us, `systemctl restart nftables`."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

from guest_agent.linux.nftables import open_ruleset_monitor

#: Whoever changes rules makes several changes in a row; looked at once, when they are done.
SETTLING_SECONDS = 0.2
_RECEIVE = 1 << 16


class RulesetWatch:
    """Calls back a little after each burst of changes, our own included. Must be made on the loop's thread."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = changed
        self._socket = open_ruleset_monitor()
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._socket, self._readable)

    def close(self) -> None:
        """May be called twice."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
        if self._timer:
            self._timer.cancel()

    def _readable(self) -> None:
        self._drain()
        if self._timer is None:
            self._timer = self._loop.call_later(SETTLING_SECONDS, self._settled)

    def _drain(self) -> None:
        try:
            while self._socket.recv(_RECEIVE):
                pass
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as failure:
            if failure.errno != errno.ENOBUFS:
                raise

    def _settled(self) -> None:
        self._timer = None
        self._changed()
