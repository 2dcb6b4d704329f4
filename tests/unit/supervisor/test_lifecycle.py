"""The machine's states: any event in any state is either in the table or refused."""

from __future__ import annotations

import pytest

from guest_agent.wire.errors import Conflict
from hostvm.supervisor.lifecycle import TRANSITIONS, Event, State, step


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_any_event_in_any_state(state: State, event: Event) -> None:
    if event in TRANSITIONS[state]:
        assert step(state, event) in State
    else:
        with pytest.raises(Conflict, match=f"the machine is {state}"):
            step(state, event)


@pytest.mark.parametrize("state", [state for state in State if state is not State.STOPPING])
def test_a_running_machine_can_be_reached(state: State) -> None:
    """No state is a dead end: a start leads out of each, at once or when what is under way has ended."""
    seen, pending = {state}, [state]
    while pending:
        for following in TRANSITIONS[pending.pop()].values():
            if following not in seen:
                seen.add(following)
                pending.append(following)
    assert State.RUNNING in seen


def test_a_life() -> None:
    state = State.STOPPED
    for event in (Event.START, Event.READY, Event.SAVE, Event.SAVED, Event.START, Event.READY, Event.ENDED):
        state = step(state, event)
    assert state is State.CRASHED
