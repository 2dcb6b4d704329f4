"""A machine whose QEMU and guest are played: everything between them and the supervisor is the real thing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from guest_agent.wire.errors import HostvmError
from hostvm.machines.vm.launch import Way
from hostvm.machines.vm.state import Identity
from hostvm.supervisor.bridges import Bridges
from hostvm.supervisor.contact import Contact
from hostvm.supervisor.life import Life
from hostvm.supervisor.lifecycle import Event
from hostvm.supervisor.machine import Machine
from hostvm.supervisor.monitor import Monitor
from hostvm.supervisor.process import QemuProcess


class Script:
    """What is done, in order. A step named in `problems` fails; one in `held` lasts until its event is set."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.problems: dict[str, Exception] = {}
        self.held: dict[str, asyncio.Event] = {}

    async def play(self, step: str) -> None:
        self.done.append(step)
        if step in self.held:
            await self.held[step].wait()
        if step in self.problems:
            raise self.problems[step]

    def hold(self, step: str) -> asyncio.Event:
        return self.held.setdefault(step, asyncio.Event())

    async def reach(self, step: str) -> None:
        """Returns when it has begun."""
        await wait_for(lambda: step in self.done)


class PlayedMonitor(Monitor):
    def __init__(self, script: Script, gone: asyncio.Event) -> None:
        self._script = script
        self._gone = gone

    async def status(self) -> str:
        await self._script.play("status")
        return "postmigrate"

    async def resume(self) -> None:
        await self._script.play("resume")

    async def save(self, path: str, timeout: float) -> None:
        await self._script.play("save")

    async def quit(self) -> None:
        await self._script.play("quit")
        self._gone.set()

    async def close(self) -> None:
        pass


class PlayedProcess:
    """Is killed from another thread, as QEMU is; the loop hears of its end."""

    identity = Identity("", "", "", "", "")
    pid = 0

    def __init__(self, gone: asyncio.Event) -> None:
        self._gone = gone
        self._loop = asyncio.get_running_loop()

    def kill(self) -> None:
        self._loop.call_soon_threadsafe(self._gone.set)


class PlayedContact:
    """The guest."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.channel = SimpleNamespace(is_up=True)
        self.guest = SimpleNamespace(detach=lambda: None, ask=self._ask)

    async def _ask(self, operation: str, timeout: float = 0) -> None:
        await self._script.play(operation)

    async def freeze(self) -> None:
        await self._script.play("freeze")

    async def thaw(self) -> None:
        await self._script.play("thaw")

    async def renew(self) -> None:
        await self._script.play("renew")

    async def close(self) -> None:
        await self._script.play("close")


class PlayedBridges:
    connections = 0

    def __init__(self, script: Script) -> None:
        self._script = script

    def open(self) -> None:
        self._script.done.append("open")

    def close(self) -> None:
        pass

    def describe_ports(self) -> list[dict[str, object]]:
        return []

    async def suspend(self) -> None:
        await self._script.play("suspend")

    async def abandon(self) -> None:
        await self._script.play("abandon")


def run_played(machine: Machine, script: Script) -> Life:
    """Has it running, in a life of its own."""
    life = Life(cast(QemuProcess, None), Way.BOOT)
    life.process = cast(QemuProcess, PlayedProcess(life.gone))
    life.monitor = PlayedMonitor(script, life.gone)
    machine.contact = cast(Contact, PlayedContact(script))
    machine.bridges = cast(Bridges, PlayedBridges(script))
    machine.life = life
    machine._step(Event.START)
    machine._run()
    return life


async def wait_for(condition: Callable[[], bool]) -> None:
    """Gives all others their turns until it holds. Nothing tells of it: the parts that are played are called."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


async def outcome(work: asyncio.Future[Any]) -> object:
    """What came of it: the error's message where it failed."""
    try:
        return await work
    except HostvmError as error:
        return error.message
