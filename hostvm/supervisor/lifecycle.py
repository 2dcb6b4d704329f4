"""A VM machine's life as its supervisor sees it. A machine without a supervisor is stopped, or suspended on disk."""

from __future__ import annotations

from enum import StrEnum

from guest_agent.wire.errors import Conflict


class State(StrEnum):
    """`stopped` and `crashed`: no QEMU. `suspended`: no QEMU, and a saved state."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    SAVING = "saving"
    STOPPING = "stopping"
    SUSPENDED = "suspended"
    CRASHED = "crashed"


class Event(StrEnum):
    """What moves it on. `ENDED`: QEMU is gone, wanted or not."""

    START = "start"
    READY = "ready"
    SAVE = "save"
    SAVED = "saved"
    NOT_SAVED = "not-saved"
    SHUTDOWN = "shutdown"
    ENDED = "ended"


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.STOPPED: {Event.START: State.STARTING, Event.SHUTDOWN: State.STOPPED},
    State.STARTING: {Event.READY: State.RUNNING, Event.SHUTDOWN: State.STOPPING, Event.ENDED: State.CRASHED},
    State.RUNNING: {Event.SAVE: State.SAVING, Event.SHUTDOWN: State.STOPPING, Event.ENDED: State.CRASHED},
    State.SAVING: {Event.SAVED: State.SUSPENDED, Event.NOT_SAVED: State.RUNNING, Event.ENDED: State.CRASHED},
    State.STOPPING: {Event.ENDED: State.STOPPED, Event.SHUTDOWN: State.STOPPING},
    State.SUSPENDED: {Event.START: State.STARTING},
    State.CRASHED: {Event.START: State.STARTING, Event.SHUTDOWN: State.STOPPED},
}


def step(state: State, event: Event) -> State:
    """The state that follows. Raises Conflict for a step that isn't in the table."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise Conflict(f"the machine is {state}: it can't {event} in that state") from None
