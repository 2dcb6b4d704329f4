"""Stops while something is under way already, and what counts as use. QEMU and the guest are played."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guest_agent.wire.errors import HostFailed, Unavailable
from hostvm.machines.vm.paths import VmPaths
from hostvm.machines.vm.spec import MachineSpec
from hostvm.supervisor import machine as machines
from hostvm.supervisor import serving
from hostvm.supervisor.life import Life
from hostvm.supervisor.lifecycle import State
from hostvm.supervisor.serving import Supervisor
from tests.unit.supervisor.played import Script, outcome, run_played, wait_for

Scene = Callable[[Supervisor, Life, Script], Coroutine[Any, Any, None]]
Play = Callable[[Scene], None]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Has a scene played with the supervisor of a machine that runs."""
    paths = VmPaths(*[str(tmp_path)] * 3)
    os.makedirs(paths.machine("vm").run)
    monkeypatch.setattr(machines, "record_state", lambda _files, _identity: "id")

    async def perform(scene: Scene) -> None:
        script = Script()
        supervisor = Supervisor(paths, MachineSpec("vm", 1, 512), "config.toml", 2, lambda: None)
        life = run_played(supervisor.machine, script)
        supervisor._gate.come_back()
        async with asyncio.timeout(10):
            await scene(supervisor, life, script)

    return lambda scene: asyncio.run(perform(scene))


async def turns() -> None:
    """In which somebody who doesn't wait gets on."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("mode", "state"), [("save", State.SUSPENDED), ("kill", State.STOPPED)])
def test_a_stop_in_a_save(play: Play, mode: str, state: State) -> None:
    """It was answered at once, `saving`, and its supervisor ended before the save did."""

    async def scene(supervisor: Supervisor, life: Life, script: Script) -> None:
        event = script.hold("save")
        suspending = asyncio.ensure_future(supervisor._suspend())
        await script.reach("save")
        with socket.socket() as client:
            stopping = asyncio.ensure_future(supervisor._stop({"mode": mode}, client))
            await turns()
            assert stopping.done() is False
            if mode == "save":
                event.set()
            assert await outcome(stopping) is None
        await suspending
        assert supervisor._answers == [(client, {"state": str(state)})]
        assert supervisor.machine.is_retired
        assert life.gone.is_set()

    play(scene)


@pytest.mark.parametrize("problem", ["", "status"])
def test_an_end_in_a_save(play: Play, problem: str) -> None:
    """SIGTERM left a QEMU behind that nobody watched; and one for good where the save failed, and QEMU with it."""

    async def scene(supervisor: Supervisor, life: Life, script: Script) -> None:
        event = script.hold("save")
        if problem:
            script.problems = {"save": HostFailed("full"), problem: Unavailable("QEMU doesn't answer")}
        suspending = asyncio.ensure_future(supervisor._suspend())
        await script.reach("save")
        supervisor._end("save")
        finishing = asyncio.ensure_future(supervisor._finish())
        await turns()
        assert not finishing.done()
        event.set()
        await finishing
        await suspending
        assert life.gone.is_set()
        assert supervisor.machine.state is (State.CRASHED if problem else State.SUSPENDED)

    play(scene)


def test_an_end_that_can_not_save(play: Play) -> None:
    """It is shut down instead."""

    async def scene(supervisor: Supervisor, life: Life, script: Script) -> None:
        script.problems["save"] = HostFailed("full")
        supervisor._end("save")
        script.hold("shutdown")
        finishing = asyncio.ensure_future(supervisor._finish())
        await script.reach("shutdown")
        life.gone.set()
        script.held["shutdown"].set()
        await finishing
        assert supervisor.machine.state is State.STOPPED

    play(scene)


def test_a_stop_in_a_shutdown(play: Play) -> None:
    """Both are answered when it is over."""

    async def scene(supervisor: Supervisor, life: Life, script: Script) -> None:
        event = script.hold("shutdown")
        with socket.socket() as client:
            first = asyncio.ensure_future(supervisor._stop({"mode": "shutdown"}, client))
            await script.reach("shutdown")
            second = asyncio.ensure_future(supervisor._stop({"mode": "save"}, client))
            await turns()
            assert not second.done()
            life.gone.set()
            event.set()
            await asyncio.gather(first, second)
        assert [answer for _, answer in supervisor._answers] == [{"state": "stopped"}] * 2

    play(scene)


@pytest.mark.parametrize("operation", ["stream", "command"])
def test_a_shell_keeps_the_machine_awake(play: Play, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    """It was suspended under whoever worked in it."""

    async def scene(supervisor: Supervisor, life: Life, script: Script) -> None:
        async def relay(*_: object) -> None:
            await script.play("relay")

        async def open_stream(_service: object) -> None:
            pass

        machine = supervisor.machine
        monkeypatch.setattr(serving, "run_command", relay)
        machine.contact.channel = type(
            "Played", (), {"open": staticmethod(open_stream), "relay": staticmethod(relay)}
        )()
        machine.spec = replace(machine.spec, idle_seconds=1e-9)
        monkeypatch.setattr(serving, "_IDLE_LOOK", 0)
        event = script.hold("relay")
        mine, theirs = socket.socketpair()
        with mine, theirs:
            mine.setblocking(False)
            request: dict[str, object] = {"request": {"to": "command"}}
            using = asyncio.ensure_future(supervisor._operations()[operation](request, mine))
            await script.reach("relay")
            watching = asyncio.ensure_future(supervisor._watch_idleness())
            await turns()
            assert machine.state is State.RUNNING
            event.set()
            await using
            await wait_for(lambda: machine.state is State.SUSPENDED)
            watching.cancel()

    play(scene)
