"""What the guest's init tells, and a guest that isn't there."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from guest_agent.wire.errors import Conflict, Unavailable, error_record
from hostvm.supervisor import contact
from hostvm.supervisor.channel import Channel
from hostvm.supervisor.contact import Contact


class Lines:
    """A control stream on which init says this, and then no more."""

    def __init__(self, *messages: object) -> None:
        self._lines = [json.dumps(message).encode() for message in messages]

    async def readline(self) -> bytes:
        return self._lines.pop(0) if self._lines else b""


def test_stages_are_passed_on_and_the_engine_s_failure_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Lines(
        {"event": "stage", "stage": "x" * 50},
        {"event": "engine-failed", **error_record(Conflict("another engine's data"))},
    )

    async def open_control(_channel: Channel, request: dict[str, object]) -> Lines:
        assert request == {"to": "control"}
        return lines

    async def follow() -> None:
        stages: list[str] = []
        one = Contact("socket", "vm", stages.append, lambda: None)
        await one.attach()
        with pytest.raises(Conflict, match="another engine's data"):
            await one.readiness.wait_engine({"engine": "starting"})
        assert stages == ["x" * 40]

    monkeypatch.setattr(Channel, "open", open_control)
    asyncio.run(follow())


def test_a_guest_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Failing to renew is only said; what was never opened, or is closed already, can be closed."""
    monkeypatch.setattr(contact, "RESUME_DEADLINE", 0.01)

    async def follow() -> None:
        one = Contact(str(tmp_path / "socket"), "vm", lambda _stage: None, lambda: None)
        await one.close()
        with pytest.raises(Unavailable, match=r"didn't answer within 0\.01 seconds"):
            await one.open(0.01)
        for failing in (one.attach, one.freeze, one.thaw):
            with pytest.raises(Unavailable):
                await failing()
        await one.renew()
        await one.close()
        await one.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(follow())
    assert "the guest's init isn't reached: " in capsys.readouterr().err
