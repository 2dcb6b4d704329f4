"""A machine that is saved and ended, and what goes wrong with that. QEMU and the guest are played."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from guest_agent.wire.errors import HostFailed, HostvmError, Unavailable
from hostvm.machines.vm.paths import VmPaths
from hostvm.machines.vm.spec import MachineSpec
from hostvm.supervisor import machine as machines
from hostvm.supervisor.life import Life
from hostvm.supervisor.lifecycle import State
from hostvm.supervisor.machine import Machine
from hostvm.supervisor.saving import explain_unsaved
from tests.unit.supervisor.played import Script, outcome, run_played, wait_for

Scene = Callable[[Machine, Life, Script], Coroutine[Any, Any, None]]
Play = Callable[[Scene], None]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Has a scene played with a machine that runs."""
    folder = str(tmp_path)
    monkeypatch.setattr(machines, "record_state", lambda _files, _identity: "id")

    async def perform(scene: Scene) -> None:
        script = Script()
        machine = Machine(VmPaths(folder, folder, folder), MachineSpec("vm", 1, 512), f"{folder}/config.toml", 2)
        life = run_played(machine, script)
        async with asyncio.timeout(10):
            await scene(machine, life, script)

    return lambda scene: asyncio.run(perform(scene))


def test_a_save(play: Play) -> None:
    async def scene(machine: Machine, life: Life, script: Script) -> None:
        await machine.save()
        assert (machine.state, machine.life, machine.saved_id) == (State.SUSPENDED, None, "id")
        assert life.gone.is_set()
        assert script.done == ["suspend", "freeze", "save", "close", "quit"]

    play(scene)


@pytest.mark.parametrize("step", ["suspend", "freeze", "save"])
def test_a_save_that_fails(play: Play, step: str) -> None:
    async def scene(machine: Machine, life: Life, script: Script) -> None:
        script.problems[step] = HostFailed("the disk is full")
        with pytest.raises(HostFailed, match="the disk is full"):
            await machine.save()
        assert (machine.state, machine.life) == (State.RUNNING, life)
        assert script.done[-4:] == ["status", "resume", "thaw", "open"]

    play(scene)


@pytest.mark.parametrize("step", ["status", "resume"])
def test_a_qemu_that_does_not_go_on(play: Play, step: str) -> None:
    """The machine stayed `saving`, out of which nothing led: whoever needed it waited for ever."""

    async def scene(machine: Machine, life: Life, script: Script) -> None:
        script.problems = {"save": HostFailed("the disk is full"), step: Unavailable(f"QEMU doesn't answer to {step}")}
        with pytest.raises(HostFailed, match="the disk is full"):
            await machine.save()
        await machine.settle()
        assert (machine.state, machine.life) == (State.CRASHED, None)
        assert f"QEMU doesn't answer to {step}" in machine.note
        assert life.gone.is_set()
        assert script.done[-3:] == ["abandon", "close", "quit"]

    play(scene)


def test_a_guest_that_does_not_thaw(play: Play) -> None:
    """It runs, and is reached again when its agent answers."""

    async def scene(machine: Machine, life: Life, script: Script) -> None:
        script.problems = {"save": HostFailed("the disk is full"), "thaw": Unavailable("no answer")}
        with pytest.raises(HostFailed, match="the disk is full"):
            await machine.save()
        assert (machine.state, machine.life) == (State.RUNNING, life)
        await script.reach("renew")

    play(scene)


@pytest.mark.parametrize("step", ["freeze", "save", "status", "resume", "thaw"])
def test_a_qemu_that_ends_in_a_save(play: Play, step: str) -> None:
    async def scene(machine: Machine, life: Life, script: Script) -> None:
        if step in ("status", "resume", "thaw"):
            script.problems["save"] = HostFailed("the disk is full")
        script.hold(step)
        saving = asyncio.ensure_future(machine.save())
        await script.reach(step)
        life.gone.set()
        with pytest.raises(HostvmError):
            await saving
        await wait_for(lambda: machine.state is State.CRASHED)
        assert machine.life is None

    play(scene)


@pytest.mark.parametrize("step", ["suspend", "save", "close"])
def test_a_kill_in_a_save(play: Play, step: str) -> None:
    """It was refused: the machine was saving. A save that was over before is one."""

    async def scene(machine: Machine, life: Life, script: Script) -> None:
        event = script.hold(step)
        saving = asyncio.ensure_future(machine.save())
        await script.reach(step)
        killing = asyncio.ensure_future(machine.kill())
        if step == "close":
            await asyncio.sleep(0)
            event.set()
        await killing
        assert life.gone.is_set()
        assert machine.state is (State.SUSPENDED if step == "close" else State.STOPPED)
        assert machine.life is None
        await outcome(saving)

    play(scene)


def test_a_crash_is_over_before_the_next_life(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waited began it while the old one's end was under way, which then closed the new one's channel."""

    async def scene(machine: Machine, life: Life, script: Script) -> None:
        def begin(_launched: object) -> None:
            script.done.append("start")
            raise Unavailable("no more")

        monkeypatch.setattr(machine, "start", begin)
        event = script.hold("abandon")
        life.gone.set()
        waiting = asyncio.ensure_future(machine.ensure_running())
        await script.reach("abandon")
        for _ in range(10):  # in which one who doesn't wait gets on
            await asyncio.sleep(0)
        assert script.done == ["abandon"]
        event.set()
        await machine._moved.wait()
        assert (machine.state, machine.life) == (State.CRASHED, None)
        assert await outcome(waiting) == "no more"
        assert script.done == ["abandon", "close", "start"]

    play(scene)


def test_a_kill_while_it_shuts_down(play: Play) -> None:
    """Both return when QEMU has gone, and not before."""

    async def scene(machine: Machine, life: Life, script: Script) -> None:
        script.hold("shutdown")
        event = script.hold("quit")
        stopping = asyncio.ensure_future(machine.shutdown())
        await script.reach("shutdown")
        kills = [asyncio.ensure_future(machine.kill()) for _ in range(2)]
        await script.reach("quit")
        for _ in range(10):
            await asyncio.sleep(0)
        assert not any(kill.done() for kill in kills)
        event.set()
        await asyncio.gather(*kills)
        assert machine.state is State.STOPPED
        stopping.cancel()

    play(scene)


def test_why_nothing_was_saved() -> None:
    refused = HostFailed("full")
    assert explain_unsaved(refused) is refused
    assert explain_unsaved(TimeoutError()).message == "the state wasn't saved in time"
    assert explain_unsaved(FileNotFoundError(2, "No such file")).message == "the state can't be saved: No such file"
