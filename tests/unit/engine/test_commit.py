"""A container that ends while it is committed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from guest_agent.engine import containers
from guest_agent.engine.container import Status
from guest_agent.engine.parts import Parts
from guest_agent.engine.requests import CommitRequest
from guest_agent.wire.errors import Conflict, HostFailed
from guest_agent.wire.models import ImageId
from tests.unit.engine.records import container

MADE = ImageId("sha256:" + "1" * 64)


@pytest.mark.parametrize("ends_before", ["pause", "unpause"])
def test_what_ends_meanwhile_is_committed(monkeypatch: pytest.MonkeyPatch, ends_before: str) -> None:
    """moby's TestRmiImgIDMultipleTag failed now and then: "is not paused", of a container whose command was short."""

    async def commit(*_: object) -> ImageId:
        return MADE

    async def done(_: str) -> None:
        pass

    async def refuse(_: str) -> None:
        raise Conflict(f"Container is not {ends_before}d")

    table = SimpleNamespace(find=lambda _: container(Status.RUNNING))
    ours = containers.Containers(cast(Parts, SimpleNamespace(table=table)))
    monkeypatch.setattr(containers, "commit_container", commit)
    for step in ("pause", "unpause"):
        monkeypatch.setattr(ours, step, refuse if step == ends_before else done)
    assert asyncio.run(ours.commit(CommitRequest("box"))) == MADE


def test_on_a_full_disk_nothing_stays_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit left a container frozen that was running, for all that the engine knew: no stop reached it any more."""
    record, frozen = container(Status.RUNNING), list[bool]()

    def save(_: object) -> None:
        raise HostFailed("can't write the database: database or disk is full")

    def set_frozen(_facts: object, _group: str, wanted: bool, _timeout: float) -> bool:
        frozen.append(wanted)
        return True

    async def run() -> None:
        live = SimpleNamespace(lock=asyncio.Lock())
        table = SimpleNamespace(find=lambda _: record, live=lambda _: live, get=lambda _: record, save=save)
        parts = SimpleNamespace(table=table, host=SimpleNamespace(cgroups=None))
        with pytest.raises(HostFailed):
            await containers.Containers(cast(Parts, parts)).pause("box")

    monkeypatch.setattr("guest_agent.engine.containers.cgroups.set_frozen", set_frozen)
    asyncio.run(run())
    assert frozen == [True, False]
