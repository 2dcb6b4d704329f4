"""New limits and restart policy for a container, running or not (moby, daemon/update.go, container_unix.go)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

from guest_agent.engine.container import Container
from guest_agent.engine.memory_events import watch_memory
from guest_agent.engine.parts import Parts
from guest_agent.engine.requests import UpdateRequest
from guest_agent.runtime.cgroups import lift_cpu_quota, lift_pids_limit
from guest_agent.runtime.limit_checks import settle_limits
from guest_agent.runtime.limits import plan_resources
from guest_agent.wire.errors import Conflict, HostFailed
from guest_agent.wire.models import RestartCondition
from guest_agent.wire.resources import LIFTED, Resources

#: What an update can change; the other fields of its body are ignored, as dockerd does.
_CHANGEABLE = (
    "blkio_weight", "cpu_shares", "nano_cpus", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime",
    "cpuset_cpus", "cpuset_mems", "memory", "memory_swap", "memory_reservation", "pids_limit",
)  # fmt: skip
_CLASHES = (
    ("nano_cpus", "cpu_period", "Nano CPUs", "CPU Period"),
    ("nano_cpus", "cpu_quota", "Nano CPUs", "CPU Quota"),
    ("cpu_period", "nano_cpus", "CPU Period", "NanoCPUs"),
    ("cpu_quota", "nano_cpus", "CPU Quota", "NanoCPUs"),
)


def check_update(parts: Parts, request: UpdateRequest) -> tuple[UpdateRequest, tuple[str, ...]]:
    """Before anybody asks which container: the limits that this host can hold, and docker's warnings."""
    resources, warnings = settle_limits(request.resources, parts.host.support, update=True)
    return dataclasses.replace(request, resources=resources), warnings


def plan_update(container: Container, request: UpdateRequest) -> Container:
    """The record with what changes. Raises Conflict in docker's words."""
    wanted, present = request.resources, container.host_config.resources
    for new, old, what, other in _CLASHES:
        if getattr(wanted, new) > 0 and getattr(present, old) > 0:
            verb = "cannot be updated as"
            raise _refusal(container, f"Conflicting options: {what} {verb} {other} has already been set")
    if wanted.memory > present.memory_swap and wanted.memory_swap == 0 and wanted.memory:
        raise _refusal(
            container,
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        )
    host = dataclasses.replace(container.host_config, resources=_merge(present, wanted))
    policy = request.restart_policy
    if policy is not None:
        if host.auto_remove and policy.condition is not RestartCondition.NO:
            raise _refusal(
                container, "Restart policy cannot be updated because AutoRemove is enabled for the container"
            )
        host = dataclasses.replace(host, restart_policy=policy)
    return dataclasses.replace(container, host_config=host)


def _refusal(container: Container, reason: str) -> Conflict:
    return Conflict(f"Cannot update container {container.id}: {reason}")


def _merge(present: Resources, wanted: Resources) -> Resources:
    changes: dict[str, object] = {name: value for name in _CHANGEABLE if (value := getattr(wanted, name))}
    return dataclasses.replace(present, **changes)  # type: ignore[arg-type]


async def apply_update(parts: Parts, updated: Container, request: UpdateRequest) -> None:
    """Into the running container's groups. Raises HostFailed."""
    if request.resources.pids_limit == LIFTED:
        lift_pids_limit(parts.host.cgroups, updated.group)
    if request.resources.cpu_quota == LIFTED:
        lift_cpu_quota(parts.host.cgroups, updated.group)
    planned = plan_changes(updated, request, parts)
    if not planned:
        return
    folder = parts.paths.bundle(updated.id)
    try:
        await parts.runtime.update(updated.id, folder, planned)
    except HostFailed as error:
        raise HostFailed(f"Cannot update container {updated.id}: {error.message}", error.hint) from error
    finally:
        for name in ("resources.json", "update.log"):
            _forget(f"{folder}/{name}")
    watch_memory(parts, updated)


def plan_changes(updated: Container, request: UpdateRequest, parts: Parts) -> Mapping[str, object]:
    """`linux.resources` of what changes. Memory and swap go together: the kernel holds one against the other."""
    changes, present = request.resources, updated.host_config.resources
    if changes.memory or changes.memory_swap:
        changes = dataclasses.replace(changes, memory=present.memory, memory_swap=present.memory_swap)
    return plan_resources(changes, parts.host.cgroups)


def _forget(path: str) -> None:
    if os.path.exists(path):
        os.unlink(path)
