"""One life of the machine: one QEMU from its start, or its adoption, to its end, which is noticed at once."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Coroutine
from typing import TypeVar

from guest_agent.wire.errors import Unavailable
from hostvm.machines.vm.launch import Way
from hostvm.supervisor.monitor import Monitor
from hostvm.supervisor.process import QemuProcess, open_exit, reap

T = TypeVar("T")

#: Seconds for QEMU to open its monitor: it takes 0.03, and a busy host has its own idea of that.
_MONITOR_DEADLINE = 30.0


class Life:
    """`gone` is set when QEMU has ended, and `how` says how."""

    def __init__(self, process: QemuProcess, way: Way) -> None:
        self.process = process
        self.way = way
        self.gone = asyncio.Event()
        self.how = ""
        self.monitor = Monitor()
        self._exit = -1

    async def begin(self, qmp_socket: str) -> None:
        """Connects to the monitor. Raises Unavailable."""
        self._watch()
        await self.monitor.connect(qmp_socket, lambda: not self.gone.is_set(), _MONITOR_DEADLINE)

    def _watch(self) -> None:
        try:
            self._exit = open_exit(self.process.pid)
        except OSError:
            self._ended()
        else:
            asyncio.get_running_loop().add_reader(self._exit, self._ended)

    def look(self) -> bool:
        """Whether QEMU has ended, be it in this very moment."""
        if self._exit >= 0 and _is_readable(self._exit):
            self._ended()
        return self.gone.is_set()

    def _ended(self) -> None:
        self._unwatch()
        self.how = reap(self.process.pid) or "ended"
        self.gone.set()

    def _unwatch(self) -> None:
        if self._exit >= 0:
            asyncio.get_running_loop().remove_reader(self._exit)
            os.close(self._exit)
            self._exit = -1

    async def during(self, work: Coroutine[None, None, T]) -> T:
        """The work's outcome; it is given up when QEMU ends meanwhile: Unavailable."""
        doing = asyncio.ensure_future(work)
        ending = asyncio.ensure_future(self.gone.wait())
        try:
            await asyncio.wait({doing, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise Unavailable(f"QEMU {self.how}")
            return doing.result()
        finally:
            doing.cancel()
            ending.cancel()

    async def wait_gone(self, timeout: float) -> bool:
        """False where it still lives then."""
        try:
            await asyncio.wait_for(self.gone.wait(), timeout)
        except TimeoutError:
            return False
        return True

    async def end(self) -> None:
        """Soft, then hard. Returns when QEMU is gone."""
        if not self.gone.is_set():
            await self.monitor.quit()
        if not await self.wait_gone(5):
            await asyncio.to_thread(self.process.kill)
            await self.gone.wait()
        await self.close()

    async def close(self) -> None:
        """Lets go of a QEMU without ending it."""
        self._unwatch()
        await self.monitor.close()


def _is_readable(descriptor: int) -> bool:
    """By poll: with a thousand connections open, descriptors are beyond what select(2) can take."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
