"""What the guest's init says of its engine, and who waits for it."""

from __future__ import annotations

import asyncio

import pytest

from guest_agent.wire.errors import Conflict, HostvmError, error_record
from hostvm.supervisor.readiness import Readiness

FAILURE = error_record(Conflict("the data belongs to another engine", "look at it"))


def test_whoever_waits_is_let_go_when_the_engine_is_ready() -> None:
    async def follow() -> None:
        readiness = Readiness("vm")
        waiting = asyncio.ensure_future(readiness.wait_engine({"engine": "starting"}))
        await asyncio.sleep(0)
        assert not waiting.done()
        readiness.hear({"event": "ready"})
        await waiting
        assert readiness.failure is None

    asyncio.run(follow())


@pytest.mark.parametrize("heard_before", [True, False])
def test_what_kept_the_engine_from_starting_is_raised(heard_before: bool) -> None:
    async def follow() -> None:
        readiness = Readiness("vm")
        status: dict[str, object] = {"engine": "starting"}
        if heard_before:
            readiness.hear({"event": "engine-failed", **FAILURE})
        else:
            status["failure"] = FAILURE
        with pytest.raises(Conflict, match="belongs to another engine") as caught:
            await readiness.wait_engine(status)
        assert caught.value.hint == "look at it"

    asyncio.run(follow())


def test_a_former_life_counts_for_nothing() -> None:
    async def follow() -> None:
        readiness = Readiness("vm")
        for event in ("ready", "warm"):
            readiness.hear({"event": event})
        readiness.hear({"event": "engine-failed", **FAILURE})
        readiness.begin()
        assert readiness.failure is None
        waiting = [
            asyncio.ensure_future(readiness.wait_engine({"engine": "starting"})),
            asyncio.ensure_future(readiness.wait_warm({"stage": "modules"})),
        ]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        readiness.hear({"event": "ready"})
        readiness.hear({"event": "warm"})
        await asyncio.gather(*waiting)

    asyncio.run(follow())


def test_a_guest_that_never_gets_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async def follow() -> None:
        monkeypatch.setattr("hostvm.supervisor.readiness.ENGINE_DEADLINE", 0.01)
        with pytest.raises(HostvmError, match=r"the guest's programs didn't start within 0\.01 s") as caught:
            await Readiness("other").wait_warm({"stage": "modules"})
        assert "machine logs other" in (caught.value.hint or "")

    asyncio.run(follow())
