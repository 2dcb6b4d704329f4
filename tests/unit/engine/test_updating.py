"""`update`: what changes, and what docker refuses to change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guest_agent.engine.container import Container
from guest_agent.engine.requests import UpdateRequest
from guest_agent.engine.updating import plan_update
from guest_agent.wire.errors import Conflict
from guest_agent.wire.models import HostConfig, RestartCondition, RestartPolicy
from guest_agent.wire.resources import LIFTED, Resources
from tests.unit.engine.records import container

MB = 1 << 20


def limited(auto_remove: bool = False, **resources: int) -> Container:
    host = HostConfig(resources=Resources(**resources), auto_remove=auto_remove)  # type: ignore[arg-type]
    return replace(container(), host_config=host)


def test_what_is_said_changes_and_the_rest_stays() -> None:
    before = limited(memory=64 * MB, memory_swap=128 * MB, cpu_shares=5, pids_limit=9)
    request = UpdateRequest(
        Resources(memory=100 * MB, cpuset_cpus="0", pids_limit=LIFTED), RestartPolicy(RestartCondition.ALWAYS)
    )
    host = plan_update(before, request).host_config
    assert host.resources == Resources(
        memory=100 * MB, memory_swap=128 * MB, cpu_shares=5, cpuset_cpus="0", pids_limit=LIFTED
    )
    assert host.restart_policy.condition is RestartCondition.ALWAYS


def test_devices_and_ulimits_are_not_an_updates_affair() -> None:
    changed = plan_update(limited(), UpdateRequest(Resources(device_rules=("a *:* rwm",), memory_swappiness=5)))
    assert changed.host_config.resources == Resources()


@pytest.mark.parametrize(
    ("before", "wanted", "words"),
    [
        ({}, {"memory": 64 * MB}, "Memory limit should be smaller than already set memoryswap limit, update"),
        ({"memory": MB, "memory_swap": 2 * MB}, {"memory": 64 * MB}, "Memory limit should be smaller than already set"),
        ({"cpu_period": 1000}, {"nano_cpus": 1}, "Nano CPUs cannot be updated as CPU Period has already been set"),
        ({"cpu_quota": 1000}, {"nano_cpus": 1}, "Nano CPUs cannot be updated as CPU Quota has already been set"),
        ({"nano_cpus": 1}, {"cpu_quota": 1000}, "CPU Quota cannot be updated as NanoCPUs has already been set"),
    ],
)
def test_refusals(before: dict[str, int], wanted: dict[str, int], words: str) -> None:
    present = limited(**before)  # type: ignore[arg-type]
    with pytest.raises(Conflict, match=words) as caught:
        plan_update(present, UpdateRequest(Resources(**wanted)))  # type: ignore[arg-type]
    assert caught.value.message.startswith(f"Cannot update container {present.id}: ")


def test_what_removes_itself_does_not_restart() -> None:
    policy = RestartPolicy(RestartCondition.ALWAYS)
    with pytest.raises(Conflict, match="because AutoRemove is enabled"):
        plan_update(limited(auto_remove=True), UpdateRequest(Resources(), policy))
