"""From a QEMU that runs to an engine that answers; the guest and QEMU are played."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from guest_agent.wire.errors import Unavailable
from hostvm.machines.vm.launch import Way
from hostvm.machines.vm.paths import VmPaths
from hostvm.machines.vm.state import DiskMark
from hostvm.supervisor import arrival
from hostvm.supervisor.arrival import Arrival
from hostvm.supervisor.background import Background
from hostvm.supervisor.bridges import Bridges
from hostvm.supervisor.contact import Contact
from hostvm.supervisor.guest import Message
from hostvm.supervisor.life import Life

_BEGUN = ["bridges", "opening the data disk", "begin", "starting the engine", "wait for the engine"]
_TEMPLATE = ["status", "wait for its programs", "saving a template", "freeze", "save", "resume", "thaw"]


class Contacted:
    """A guest whose engine is in the state `engine`: what is done with it, in order."""

    def __init__(self, engine: str) -> None:
        self.done: list[str] = []
        self.guest = self.readiness = self
        self._engine = engine

    async def open(self, deadline: float) -> None:
        self.done.append("open")

    async def attach(self) -> None:
        self.done.append("attach")

    async def renew(self) -> None:
        self.done.append("renew")

    async def freeze(self) -> None:
        self.done.append("freeze")

    async def thaw(self) -> None:
        self.done.append("thaw")

    async def ask(self, operation: str, timeout: float = 0, **_fields: object) -> Message:
        self.done.append(operation)
        return {"engine": self._engine}

    async def set_time(self) -> None:
        self.done.append("time")

    async def wait_warm(self, _status: Message) -> None:
        self.done.append("wait for its programs")

    async def wait_engine(self, _status: Message) -> None:
        self.done.append("wait for the engine")


class Monitor:
    """QEMU's; `problem` is what a save fails with."""

    def __init__(self, done: list[str], problem: Exception | None) -> None:
        self._done = done
        self._problem = problem

    async def save(self, _path: str, _timeout: float) -> None:
        self._done.append("save")
        if self._problem:
            raise self._problem

    async def resume(self) -> None:
        self._done.append("resume")

    async def resize_disk(self, size: int) -> None:
        self._done.append(f"resize to {size}")


class Stage:
    """Where an arrival is played."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = str(folder)
        self.has_template = True
        self.problem: Exception | None = None
        self.recorded: list[object] = []
        monkeypatch.setattr(arrival, "have_template", lambda *_: self.has_template)
        monkeypatch.setattr(arrival, "mark_of", lambda _disk: DiskMark(7, 0))
        monkeypatch.setattr(arrival, "make_template_folder", lambda *_: "state")
        monkeypatch.setattr(arrival, "copy_template", lambda *_: None)
        monkeypatch.setattr(arrival, "record_template", lambda _paths, identity: self.recorded.append(identity))

    def play(self, way: Way, engine: str) -> list[str]:
        """What was done."""
        contact = Contacted(engine)
        bridges = SimpleNamespace(open=lambda: contact.done.append("bridges"))
        monitor = Monitor(contact.done, self.problem)
        life = SimpleNamespace(way=way, monitor=monitor, process=SimpleNamespace(identity="this"))

        async def arrive() -> None:
            one = Arrival(
                VmPaths(self._folder, self._folder, self._folder), "vm", f"{self._folder}/config.toml",
                cast(Contact, contact), cast(Bridges, bridges), Background(), contact.done.append,
            )  # fmt: skip
            await one.reach_engine(cast(Life, life))
            await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

        asyncio.run(arrive())
        return contact.done


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def test_an_engine_that_runs_is_left_alone(stage: Stage) -> None:
    """Whoever resumes a saved machine doesn't even wait for init."""
    assert stage.play(Way.SAVED, "ready") == ["open", "renew"]
    assert stage.play(Way.ADOPTED, "ready") == ["open", "attach", "status", "time"]
    assert stage.play(Way.ADOPTED, "starting") == ["open", "attach", "status", "wait for the engine"]


def test_an_engine_that_waits_for_its_disk_gets_it(stage: Stage) -> None:
    assert stage.play(Way.BOOT, "held") == ["open", "attach", "status", *_BEGUN]
    bridges, *others = _BEGUN
    assert stage.play(Way.TEMPLATE, "held") == ["open", "attach", "status", bridges, "resize to 7", *others]
    assert stage.recorded == []


@pytest.mark.parametrize("problem", [None, Unavailable("no"), OSError("disk full"), TimeoutError()])
def test_the_first_boot_leaves_a_template(stage: Stage, problem: Exception | None) -> None:
    """That it can't be made is no reason to stop, and nobody begins with half of it."""
    stage.has_template, stage.problem = False, problem
    assert stage.play(Way.BOOT, "held") == ["open", "attach", "status", *_TEMPLATE, *_BEGUN]
    assert stage.recorded == ([] if problem else ["this"])
