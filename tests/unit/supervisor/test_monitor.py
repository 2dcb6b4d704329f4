"""QEMU's monitor, where QEMU isn't what fails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from guest_agent.wire.errors import HostFailed
from hostvm.supervisor.monitor import Monitor


def test_a_state_that_the_disk_has_no_place_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk left the machine in the midst of saving, out of which nothing but a signal led."""
    asked = []

    async def execute(_monitor: Monitor, command: str, _arguments: Mapping[str, object] | None = None) -> object:
        asked.append(command)
        return {}

    async def save() -> None:
        await Monitor().save(str(tmp_path / "gone" / "state"), 1)

    monkeypatch.setattr(Monitor, "execute", execute)
    with pytest.raises(HostFailed, match=r"^the machine's state can't be saved: .*/gone/state: No such file"):
        asyncio.run(save())
    assert asked == ["migrate-set-capabilities"]
