"""The rules of health checks."""

from __future__ import annotations

import dataclasses

import pytest

from guest_agent.engine.container import Container, Health, HealthStatus, ProbeResult, Status
from guest_agent.engine.health import (
    OUTPUT_LIMIT,
    ProbeOutput,
    health_after,
    health_at_start,
    health_without_probes,
    merge_healthcheck,
    pause_before_probe,
    probe_argv,
    timeout_message,
)
from guest_agent.wire.models import ContainerConfig, Healthcheck
from tests.unit.engine.records import container

SECOND = 10**9
CHECK = Healthcheck(("CMD", "ok"), interval=7 * SECOND, start_period=20 * SECOND, retries=2)


def checked(check: Healthcheck = CHECK, health: Health | None = None, started_ns: int = 100 * SECOND) -> Container:
    one = container(Status.RUNNING, started_ns=started_ns)
    state = dataclasses.replace(one.state, health=health or Health())
    return dataclasses.replace(one, config=ContainerConfig(healthcheck=check), state=state)


def result(code: int, second: int = 130) -> ProbeResult:
    return ProbeResult(second * SECOND, second * SECOND, code, "")


def after(one: Container, *results: ProbeResult) -> Health:
    for item in results:
        one = dataclasses.replace(one, state=dataclasses.replace(one.state, health=health_after(one, item)))
    assert one.state.health is not None
    return one.state.health


@pytest.mark.parametrize(
    ("test", "shell", "argv"),
    [
        ((), (), ()),
        (("NONE",), (), ()),
        (("CMD", "curl", "-f", "x"), (), ("curl", "-f", "x")),
        (("CMD-SHELL", "a && b"), (), ("/bin/sh", "-c", "a && b")),
        (("CMD-SHELL", "a"), ("/bin/bash", "-ec"), ("/bin/bash", "-ec", "a")),
        (("HTTP", "x"), (), ()),
    ],
)
def test_what_is_executed(test: tuple[str, ...], shell: tuple[str, ...], argv: tuple[str, ...]) -> None:
    assert probe_argv(ContainerConfig(healthcheck=Healthcheck(test), shell=shell)) == argv


def test_the_image_completes_field_by_field() -> None:
    image = Healthcheck(("CMD", "image"), 1, 2, 3, 4, 5)
    assert merge_healthcheck(None, image) == image
    assert merge_healthcheck(Healthcheck(("NONE",)), None) == Healthcheck(("NONE",))
    assert merge_healthcheck(Healthcheck(interval=9), image) == Healthcheck(("CMD", "image"), 9, 2, 3, 4, 5)


def test_failures_in_the_start_period_do_not_count() -> None:
    assert after(checked(), result(1, 105), result(1, 119)).failing_streak == 0
    health = after(checked(), result(1, 105), result(1, 121), result(-1, 122))
    assert (health.status, health.failing_streak) == (HealthStatus.UNHEALTHY, 2)


def test_a_success_ends_the_start_period() -> None:
    assert after(checked(), result(0, 101)).status is HealthStatus.HEALTHY
    health = after(checked(), result(0, 101), result(1, 102), result(1, 103))
    assert (health.status, health.failing_streak) == (HealthStatus.UNHEALTHY, 2)
    assert after(checked(health=health), result(0)).failing_streak == 0


def test_five_probes_are_remembered() -> None:
    health = after(checked(), *(result(code) for code in range(8)))
    assert [one.exit_code for one in health.log] == [3, 4, 5, 6, 7]


def test_a_start_begins_anew_and_an_end_is_unhealthy() -> None:
    old = Health(HealthStatus.HEALTHY, 0, (result(0),))
    assert health_at_start(checked(health=old)) == Health(HealthStatus.STARTING, 0, old.log)
    assert health_at_start(checked(Healthcheck(("NONE",)))) is None
    ended = health_without_probes(old)
    assert ended is not None and ended.status is HealthStatus.UNHEALTHY and ended.log == old.log
    assert health_without_probes(None) is None


def test_pauses() -> None:
    assert pause_before_probe(checked(), 101 * SECOND) == 5
    assert pause_before_probe(checked(dataclasses.replace(CHECK, start_interval=SECOND // 2)), 101 * SECOND) == 0.5
    assert pause_before_probe(checked(), 121 * SECOND) == 7
    assert pause_before_probe(checked(health=Health(HealthStatus.HEALTHY)), 101 * SECOND) == 7
    assert pause_before_probe(checked(Healthcheck(("CMD", "ok"))), 101 * SECOND) == 30


def test_output_is_cut() -> None:
    output = ProbeOutput()
    output.add(b"a" * (OUTPUT_LIMIT - 1))
    output.add(b"\xff")
    assert output.text() == "a" * (OUTPUT_LIMIT - 1) + "\ufffd"
    output.add(b"more")
    assert output.text().endswith("\ufffd...")


def test_the_message_of_a_timeout() -> None:
    assert timeout_message(SECOND, "") == "Health check exceeded timeout (1s)"
    assert timeout_message(SECOND, "abc") == "Health check exceeded timeout (1s): abc"
