"""A kill between two starts of a restart policy, and one that comes while the second is under way."""

from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace
from typing import cast

import pytest

from guest_agent.engine import containers
from guest_agent.engine.container import Container, Status
from guest_agent.engine.parts import Parts
from tests.unit.engine.records import container


def killed(monkeypatch: pytest.MonkeyPatch, signal: str, *, starts: bool) -> list[str]:
    """What a kill did to a container that restarts, and that runs (if it `starts`) as soon as the lock is free."""
    record, done = container(Status.RESTARTING), list[str]()

    async def ended(*_: object) -> bool:
        return True

    def note(what: str) -> object:
        return lambda *_: done.append(what)

    async def run() -> None:
        nonlocal record
        live = SimpleNamespace(lock=asyncio.Lock())
        table = SimpleNamespace(find=lambda _: record, live=lambda _: live)
        ours = containers.Containers(cast(Parts, SimpleNamespace(table=table)))
        monkeypatch.setattr(ours, "_has_ended", ended)
        for name in ("_mark_stopped", "_end_restarting", "_kill"):
            monkeypatch.setattr(ours, name, note(name))
        async with live.lock:
            killing = asyncio.ensure_future(ours.kill("box", signal))
            await asyncio.sleep(0)
            if starts:
                record = running(record)
        await killing

    asyncio.run(run())
    return done


def running(record: Container) -> Container:
    return dataclasses.replace(record, state=dataclasses.replace(record.state, status=Status.RUNNING))


@pytest.mark.parametrize(
    ("signal", "starts", "expected"),
    [
        ("KILL", False, ["_end_restarting"]),
        ("TERM", False, ["_end_restarting"]),
        ("HUP", False, []),
        ("KILL", True, ["_mark_stopped", "_kill"]),
        ("HUP", True, ["_kill"]),
    ],
)
def test_a_kill_while_it_restarts(
    monkeypatch: pytest.MonkeyPatch, signal: str, starts: bool, expected: list[str]
) -> None:
    """Without the lock, the start under way wrote its record over the end: the container restarted for ever."""
    assert killed(monkeypatch, signal, starts=starts) == expected
