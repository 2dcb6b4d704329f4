"""What the engine keeps in memory for a container beside its record: the log, and the present or coming run.

A *run* is one life of the process. It exists before the process does, because docker's clients attach and wait first
and start then; when the process has ended, the next run takes its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from guest_agent.engine.output import OutputLog
from guest_agent.engine.stdio import OutputPump, Stdio
from guest_agent.wire.models import Endpoint


class Run:
    """One life of the process."""

    def __init__(self, log: OutputLog) -> None:
        self._log = log
        self.started = asyncio.Event()
        self.stdio = Stdio()
        #: The one client whose input this was has gone before the start.
        self.stdin_abandoned = False
        self.pump: OutputPump | None = None
        #: Nothing more will be printed.
        self.output_ended = asyncio.Event()
        #: The exit code is known, the record says so, name and ports are free again.
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        #: The process is gone: `stop` needn't wait any longer before it kills.
        self.process_ended = asyncio.Event()

    def begin(self, stdio: Stdio) -> None:
        """Output flows from now on."""
        self.stdio = stdio
        self.pump = OutputPump(stdio, self._log, self.end_output)
        self.pump.start()

    def end_output(self) -> None:
        """Readers that have seen all of the log may stop waiting for more."""
        self.output_ended.set()
        self._log.notify()

    def give_up(self, exit_code: int) -> None:
        """It never started: whoever waits for its output or its end is let go."""
        self.end_output()
        self.started.set()
        self.finish(exit_code)

    def finish(self, exit_code: int) -> None:
        """The record tells of the end; waiters may know."""
        self.process_ended.set()
        if not self.exited.done():
            self.exited.set_result(exit_code)

    def close(self) -> None:
        if self.pump is not None:
            self.pump.stop()
        self.stdio.close()


class Live:
    """The volatile half of a container."""

    def __init__(self, log: OutputLog) -> None:
        self.log = log
        self.run = Run(log)
        #: Serialises start, stop, remove and the like; never held while waiting for a client.
        self.lock = asyncio.Lock()
        self.removed = asyncio.Event()
        #: Clearing up after the last run, if it is still under way; the next start waits for it.
        self.clearing: asyncio.Task[None] | None = None
        #: Woken to end a restart policy's pause.
        self.restart_cancelled = asyncio.Event()
        #: Seconds that were waited before the last restart.
        self.restart_pause = 0.0
        #: The present end is half of a restart: `--rm` doesn't mean it.
        self.is_kept = False
        #: Where it was in its last run: the next one gets these addresses again where they are free.
        self.last_endpoints: tuple[Endpoint, ...] = ()
        self._readers = 0
        self._unread = asyncio.Event()
        self._unread.set()
        #: Held by the run whose output is being sent to a log driver's destination: the next one's goes after it.
        self.shipping = asyncio.Lock()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """What ends meanwhile isn't removed."""
        self.is_kept = True
        try:
            yield
        finally:
            self.is_kept = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """The root of the present run is looked at from outside: until that is over, `unread` waits."""
        self._readers += 1
        self._unread.clear()
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers:
                self._unread.set()

    async def unread(self, patience: float) -> None:
        """Nobody looks at it any more, or `patience` (seconds) is at its end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._unread.wait()

    async def cleared(self) -> None:
        """Until nothing of the last run is in the way of the next."""
        if self.clearing is not None:
            await asyncio.shield(self.clearing)

    def next_run(self) -> Run:
        """The run that is over; a new one has taken its place."""
        over, self.run = self.run, Run(self.log)
        return over
