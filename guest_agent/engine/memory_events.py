"""`oom`: told when it happens, also where the container outlives it (moby, daemon/monitor.go)."""

from __future__ import annotations

import dataclasses
from functools import partial

from guest_agent.engine.container import Container
from guest_agent.engine.parts import Parts
from guest_agent.runtime.cgroups import oom_killed
from guest_agent.wire.models import ContainerId


def watch_memory(parts: Parts, container: Container) -> None:
    """Only a group with a limit runs out of memory by itself."""
    if not container.host_config.resources.memory:
        return
    parts.oom.watch(container.id, container.group, partial(_tell, parts, container.id))
    if not container.state.oom_killed and oom_killed(parts.host.cgroups, container.group):
        _tell(parts, container.id)  # before anybody watched


def _tell(parts: Parts, container_id: ContainerId) -> None:
    container = parts.table.get(container_id)
    if container is None or not container.running:
        return
    state = dataclasses.replace(container.state, oom_killed=True)
    parts.tell(parts.table.save(dataclasses.replace(container, state=state), durable=False), "oom")
