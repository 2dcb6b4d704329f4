"""Life cycle, restart policies, signals, names, failpoints: docker's tables."""

from __future__ import annotations

import dataclasses
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.engine.container import Status
from guest_agent.engine.failpoints import parse_failpoints
from guest_agent.engine.lifecycle import TRANSITIONS, Step, next_status
from guest_agent.engine.naming import check_name, choose_name, new_id
from guest_agent.engine.restarting import plan_pause, wants_restart, wants_start_with_engine
from guest_agent.linux.signals import parse_signal
from guest_agent.wire.errors import Conflict, InvalidArgument, NotModified
from guest_agent.wire.models import ContainerId, RestartCondition
from tests.unit.engine.records import container

SECOND = 10**9


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("step", Step)
def test_any_step_from_any_status_is_in_the_table_or_refused(status: Status, step: Step) -> None:
    if step in TRANSITIONS[status]:
        assert next_status(container(status), step) is TRANSITIONS[status][step]
    else:
        with pytest.raises((Conflict, NotModified)):
            next_status(container(status), step)


@pytest.mark.parametrize(
    ("status", "step", "error", "words"),
    [
        (Status.RUNNING, Step.START, NotModified, "already running"),
        (Status.PAUSED, Step.START, Conflict, "cannot start a paused container, try unpause instead"),
        (Status.PAUSED, Step.PAUSE, Conflict, "already paused"),
        (Status.RUNNING, Step.UNPAUSE, Conflict, "is not paused"),
        (Status.PAUSED, Step.EXEC, Conflict, "is paused, unpause the container before exec"),
        (Status.EXITED, Step.EXEC, Conflict, "is not running"),
        (Status.RUNNING, Step.REMOVE, Conflict, "container is running: stop the container before removing"),
        (Status.REMOVING, Step.START, Conflict, "marked for removal"),
    ],
)
def test_a_refusal_has_dockers_words(status: Status, step: Step, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        next_status(container(status), step)


@given(st.lists(st.sampled_from(Step), max_size=20))
def test_no_way_leads_out_of_the_table(steps: list[Step]) -> None:
    status = Status.CREATED
    for step in steps:
        status = TRANSITIONS[status].get(step, status)
        assert status in TRANSITIONS


ALWAYS, FAILURE, UNLESS = RestartCondition.ALWAYS, RestartCondition.ON_FAILURE, RestartCondition.UNLESS_STOPPED


@pytest.mark.parametrize(
    ("condition", "retries", "state", "wanted"),
    [
        (RestartCondition.NO, 0, {"exit_code": 1}, False),
        (ALWAYS, 0, {"exit_code": 0}, True),
        (ALWAYS, 0, {"stopped_by_user": True}, False),
        (UNLESS, 0, {"exit_code": 0}, True),
        (FAILURE, 0, {"exit_code": 0}, False),
        (FAILURE, 0, {"exit_code": 1, "restart_count": 50}, True),
        (FAILURE, 3, {"exit_code": 1, "restart_count": 2}, True),
        (FAILURE, 3, {"exit_code": 1, "restart_count": 3}, False),
    ],
)
def test_restart_policies(condition: RestartCondition, retries: int, state: dict[str, int], wanted: bool) -> None:
    ended = container(Status.EXITED, condition=condition, retries=retries, **state)  # type: ignore[arg-type]
    assert wants_restart(ended) is wanted


@pytest.mark.parametrize(
    ("count", "last", "lived", "error", "seconds"),
    [
        (0, 0.0, 1, "", 0.1),
        (0, 51.2, 1, "", 0.1),  # the user has started it meanwhile
        (1, 0.1, 1, "", 0.2),
        (9, 51.2, 1, "", 60),
        (500, 60.0, 1, "", 60),
        (30, 60.0, 10, "", 0.1),
        (30, 12.8, 3600, "a port is taken", 25.6),  # the start failed after a long run
    ],
)
def test_pauses_double(count: int, last: float, lived: int, error: str, seconds: float) -> None:
    times = {"started_ns": 100 * SECOND, "finished_ns": (100 + lived) * SECOND}
    ended = container(Status.RESTARTING, condition=ALWAYS, restart_count=count, **times)  # type: ignore[arg-type]
    ended = dataclasses.replace(ended, state=dataclasses.replace(ended.state, error=error))
    assert plan_pause(ended, last) == seconds


@pytest.mark.parametrize(
    ("condition", "was_running", "stopped", "wanted"),
    [
        (RestartCondition.NO, True, False, False),
        (FAILURE, True, False, True),
        (FAILURE, False, False, False),
        (ALWAYS, False, True, True),
        (UNLESS, False, True, False),
        (UNLESS, False, False, True),
    ],
)
def test_who_comes_back_with_the_engine(
    condition: RestartCondition, was_running: bool, stopped: bool, wanted: bool
) -> None:
    ended = container(Status.EXITED, condition=condition, started_ns=5, stopped_by_user=stopped)
    assert wants_start_with_engine(ended, was_running) is wanted


@pytest.mark.parametrize("text", ["KILL", "SIGKILL", "sigkill", " kill ", "9"])
def test_a_signal_has_many_spellings(text: str) -> None:
    assert parse_signal(text) == 9


def test_real_time_signals() -> None:
    low, high = int(signal.SIGRTMIN), int(signal.SIGRTMAX)
    found = [parse_signal(text) for text in ("RTMIN", "SIGRTMIN+3", "RTMAX-2", str(high))]
    assert found == [low, low + 3, high - 2, high]


@pytest.mark.parametrize("text", ["", "0", "-1", "65", "NONE", "RTMIN-1", "RTMAX+1", "_DFL", "SIG", "SIG9", "²"])
def test_no_signal(text: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid signal"):
        parse_signal(text)


def test_names() -> None:
    assert check_name("/web.1") == "web.1"
    for wrong in ("", "a", "-a", "a b", "//ab", "ab\n", "ä2"):
        with pytest.raises(InvalidArgument, match="Invalid container name"):
            check_name(wrong)


def test_a_chosen_name_is_free_and_valid() -> None:
    class Everything:
        def __contains__(self, _name: object) -> bool:
            return True

    identity = ContainerId(new_id())
    assert check_name(choose_name((), identity))
    assert choose_name(Everything(), identity).endswith(f"_{identity[:6]}")


def test_an_id_is_no_number() -> None:
    ids = {new_id() for _ in range(200)}
    assert len(ids) == 200 and not any(identity[:12].isdigit() for identity in ids)


def test_failpoints() -> None:
    assert parse_failpoints("a.before=kill, b.after = error,") == {"a.before": "kill", "b.after": "error"}
    assert parse_failpoints("") == {}
