"""The life of a container as a table; an illegal step is a Conflict in docker's wording."""

from __future__ import annotations

from enum import StrEnum

from guest_agent.engine.container import Container, Status
from guest_agent.wire.errors import Conflict, HostvmError, NotModified


class Step(StrEnum):
    """What can be done to a container, or happen to it."""

    START = "start"
    STARTED = "started"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    KILL = "kill"
    EXIT = "exit"
    RESTART_LATER = "restart later"
    REMOVE = "remove"
    EXEC = "exec"


#: TRANSITIONS[status][step] -> the status after it. What isn't here is illegal.
TRANSITIONS: dict[Status, dict[Step, Status]] = {
    Status.CREATED: {
        Step.START: Status.CREATED,
        Step.STARTED: Status.RUNNING,
        Step.EXIT: Status.EXITED,
        Step.REMOVE: Status.REMOVING,
    },
    Status.RUNNING: {
        Step.PAUSE: Status.PAUSED,
        Step.KILL: Status.RUNNING,
        Step.EXEC: Status.RUNNING,
        Step.EXIT: Status.EXITED,
        Step.RESTART_LATER: Status.RESTARTING,
    },
    Status.PAUSED: {
        Step.UNPAUSE: Status.RUNNING,
        Step.KILL: Status.PAUSED,
        Step.EXIT: Status.EXITED,
        Step.RESTART_LATER: Status.RESTARTING,
    },
    Status.RESTARTING: {
        Step.START: Status.RESTARTING,
        Step.STARTED: Status.RUNNING,
        Step.EXIT: Status.EXITED,
    },
    Status.EXITED: {
        Step.START: Status.EXITED,
        Step.STARTED: Status.RUNNING,
        Step.EXIT: Status.EXITED,
        Step.REMOVE: Status.REMOVING,
    },
    Status.DEAD: {Step.REMOVE: Status.REMOVING},
    Status.REMOVING: {Step.REMOVE: Status.REMOVING},
}


def next_status(container: Container, step: Step) -> Status:
    """The status after `step`. Raises Conflict, or NotModified where it is there already."""
    status = TRANSITIONS[container.state.status].get(step)
    if status is None:
        raise _refusal(container, step)
    return status


def _refusal(container: Container, step: Step) -> HostvmError:
    status = container.state.status
    if step is Step.START and container.running:
        if status is Status.PAUSED:
            return Conflict("cannot start a paused container, try unpause instead")
        return NotModified(f"Container {container.id} is already running")
    if step is Step.PAUSE and status is Status.PAUSED:
        return Conflict(f"Container {container.id} is already paused")
    if step is Step.UNPAUSE:
        return Conflict(f"Container {container.id} is not paused")
    if step is Step.EXEC and status is Status.PAUSED:
        return Conflict(f"Container {container.id} is paused, unpause the container before exec")
    if step is Step.REMOVE:
        paused = status is Status.PAUSED
        first = " and must be unpaused first" if paused else ": stop the container before removing or force remove"
        return Conflict(f'cannot remove container "/{container.name}": container is {status}{first}')
    if status in (Status.REMOVING, Status.DEAD):
        return Conflict("container is marked for removal and cannot be started")
    return Conflict(f"Container {container.id} is not running")
