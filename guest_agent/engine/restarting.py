"""Restart policies: whether and when a container that ended is started again (moby, restartmanager)."""

from __future__ import annotations

from guest_agent.engine.container import Container
from guest_agent.wire.models import RestartCondition

_FIRST_PAUSE = 0.1  #: seconds
_LONGEST_PAUSE = 60.0
#: A process that lived this long has started properly: the pause begins anew.
_SETTLED_NS = 10 * 10**9


def wants_restart(container: Container) -> bool:
    """Whether it is started again after the exit that the record tells of."""
    policy, state = container.host_config.restart_policy, container.state
    if state.stopped_by_user:
        return False
    if policy.condition is RestartCondition.ON_FAILURE:
        limit = policy.maximum_retry_count
        return state.exit_code != 0 and (not limit or state.restart_count < limit)
    return policy.condition in (RestartCondition.ALWAYS, RestartCondition.UNLESS_STOPPED)


def plan_pause(container: Container, last: float) -> float:
    """Seconds to wait before the next start; `last` is what was waited before the one that has ended.

    A start that failed says nothing of how long the run before it was.
    """
    state = container.state
    settled = not state.error and state.finished_ns - state.started_ns >= _SETTLED_NS
    return _FIRST_PAUSE if settled or not state.restart_count else min(2 * last, _LONGEST_PAUSE)


def wants_start_with_engine(container: Container, was_running: bool) -> bool:
    """Whether the engine's own start brings it back, after a reboot or a power cut."""
    condition = container.host_config.restart_policy.condition
    if condition is RestartCondition.ALWAYS:
        return was_running or container.state.started_ns > 0
    if condition is RestartCondition.UNLESS_STOPPED:
        return was_running or (container.state.started_ns > 0 and not container.state.stopped_by_user)
    return was_running and condition is RestartCondition.ON_FAILURE
