"""Restart policies: whether and when a container that ended is started again (moby, restartmanager)."""

from __future__ import annotations

from guest_agent.engine.container import Container
from guest_agent.wire.models import RestartCondition

_FIRST_PAUSE = 0.1  #: seconds
_LONGEST_PAUSE = 60.0
#: A process that lived this long has started properly: the pause begins anew.
_SETTLED_NS = 10 * 10**9


def plan_restart(container: Container, now_ns: int) -> float | None:
    """Seconds to wait before the next start, None where there is none. `container` is the record after its end."""
    state = container.state
    if state.stopped_by_user or not wants_restart(container):
        return None
    if now_ns - state.started_ns >= _SETTLED_NS:
        return _FIRST_PAUSE
    # The power is capped before the product is: 2 ** 2000 fits in no float.
    return min(_FIRST_PAUSE * (1 << min(state.restart_count, 16)), _LONGEST_PAUSE)


def wants_restart(container: Container) -> bool:
    """Whether its policy asks for a restart after the exit that the record tells of."""
    policy, state = container.host_config.restart_policy, container.state
    if policy.condition is RestartCondition.ON_FAILURE:
        limit = policy.maximum_retry_count
        return state.exit_code != 0 and (not limit or state.restart_count < limit)
    return policy.condition in (RestartCondition.ALWAYS, RestartCondition.UNLESS_STOPPED)


def wants_start_with_engine(container: Container, was_running: bool) -> bool:
    """Whether the engine's own start brings it back, after a reboot or a power cut."""
    condition = container.host_config.restart_policy.condition
    if condition is RestartCondition.ALWAYS:
        return was_running or container.state.started_ns > 0
    if condition is RestartCondition.UNLESS_STOPPED:
        return was_running or (container.state.started_ns > 0 and not container.state.stopped_by_user)
    return was_running and condition is RestartCondition.ON_FAILURE
