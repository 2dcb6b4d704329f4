"""What becomes of a probe's result."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import cast

from guest_agent.engine.container import Container, Health, HealthStatus, ProbeResult, Status
from guest_agent.engine.execs import Execs
from guest_agent.engine.parts import Parts
from guest_agent.engine.probing import HealthMonitors
from guest_agent.wire.errors import HostFailed
from guest_agent.wire.models import ContainerConfig, Healthcheck
from tests.unit.engine.records import container


class FullDisk:
    """A table with one container, which can be changed in memory alone."""

    def __init__(self, record: Container) -> None:
        self.record = record

    def all(self) -> tuple[Container, ...]:
        return ()

    def get(self, _: str) -> Container:
        return self.record

    def save(self, record: Container, durable: bool = True) -> Container:
        raise HostFailed("no space left on device")

    def remember_only(self, record: Container) -> None:
        self.record = record


def test_a_full_disk_does_not_end_the_probing() -> None:
    one = container(Status.RUNNING)
    starting = dataclasses.replace(
        one,
        config=ContainerConfig(healthcheck=Healthcheck(("CMD", "ok"))),
        state=dataclasses.replace(one.state, health=Health()),
    )
    table, told = FullDisk(starting), list[str]()
    parts = SimpleNamespace(
        table=table,
        events=SimpleNamespace(listen=lambda listener: None),
        tell=lambda container, action: told.append(action),
    )
    monitors = HealthMonitors(cast(Parts, parts), cast(Execs, None))
    monitors._record(starting.id, ProbeResult(1, 2, 0, ""))
    assert table.record.state.health is not None
    assert table.record.state.health.status is HealthStatus.HEALTHY
    assert told == ["health_status: healthy"]
