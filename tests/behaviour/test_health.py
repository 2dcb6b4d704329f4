"""Health checks: what probes see, what they change, and when there are none."""

from __future__ import annotations

import json

from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import wait_for

QUICK = ("--health-interval", "200ms", "--health-retries", "2", "--health-timeout", "20s")


def health(machine: Machine, name: str) -> str:
    return machine("inspect", "-f", "{{.State.Health.Status}}", name)


def wait_for_health(machine: Machine, name: str, status: str) -> None:
    wait_for(lambda: health(machine, name) == status, f"{name} to be {status}")


def test_from_starting_to_healthy_to_unhealthy_and_back(machine: Machine) -> None:
    check = ("--health-cmd", "test ! -e /sick || { echo so sick; exit 3; }", *QUICK)
    name = machine("run", "-d", "--name", "patient", *check, "busybox", "sleep", "3600")
    wait_for_health(machine, name, "healthy")
    assert "(healthy)" in machine("ps", "--format", "{{.Status}}")
    assert machine("ps", "-q", "--filter", "health=healthy")
    assert not machine("ps", "-q", "--filter", "health=starting") and not machine("ps", "-q", "--filter", "health=none")
    machine("exec", name, "touch", "/sick")
    wait_for_health(machine, name, "unhealthy")
    assert "(unhealthy)" in machine.docker("ps", "--format", "{{.Status}}")
    seen = machine.inspect(name)["State"]["Health"]
    assert (seen["Log"][-1]["ExitCode"], seen["Log"][-1]["Output"]) == (3, "so sick\n")
    assert seen["FailingStreak"] >= 2 and len(seen["Log"]) <= 5
    machine("exec", name, "rm", "/sick")
    wait_for_health(machine, name, "healthy")
    machine("kill", name)
    machine("wait", name)
    assert health(machine, name) == "unhealthy"
    told = machine("events", "--since", "1h", "--until", "0s", "--filter", f"container={name}", "--format", "json")
    actions = [json.loads(line)["Action"] for line in told.splitlines()]
    statuses = [action for action in actions if action.startswith("health_status")]
    assert statuses == ["health_status: healthy", "health_status: unhealthy", "health_status: healthy"]
    assert any(action.startswith("exec_create: /bin/sh -c test ! -e /sick") for action in actions)
    assert "exec_die" in actions


def test_a_probe_that_takes_too_long_is_killed(machine: Machine) -> None:
    check = ("--health-cmd", "echo waiting; sleep 3599", "--health-interval", "100ms", "--health-timeout", "1s")
    name = machine("run", "-d", *check, "--health-retries", "1", "busybox", "sleep", "3600")
    wait_for_health(machine, name, "unhealthy")
    (first, *_) = machine.inspect(name)["State"]["Health"]["Log"]
    assert (first["ExitCode"], first["Output"]) == (-1, "Health check exceeded timeout (1s): waiting\n")
    machine("pause", name)
    machine("unpause", name)
    processes = [line.split(maxsplit=1)[-1] for line in machine("top", name, "-o", "pid,args").splitlines()]
    assert processes.count("sleep 3599") <= 1


def test_who_is_paused_is_not_probed(machine: Machine) -> None:
    name = machine("run", "-d", "--health-cmd", "echo probed", *QUICK, "busybox", "sleep", "3600")
    wait_for_health(machine, name, "healthy")
    machine("pause", name)
    assert health(machine, name) == "unhealthy"
    before = machine.inspect(name)["State"]["Health"]["Log"]
    machine("run", "--rm", "busybox", "sleep", "1")
    assert machine.inspect(name)["State"]["Health"]["Log"] == before
    machine("unpause", name)
    wait_for_health(machine, name, "healthy")


def test_the_check_goes_on_after_the_engine_was_killed(machine: Machine) -> None:
    name = machine("run", "-d", "--health-cmd", "test ! -e /sick", *QUICK, "busybox", "sleep", "3600")
    wait_for_health(machine, name, "healthy")
    machine.kill_engine()
    assert health(machine, name) == "healthy"
    machine("exec", name, "touch", "/sick")
    wait_for_health(machine, name, "unhealthy")
    machine("exec", name, "rm", "/sick")
    machine("restart", "-t", "0", name)
    wait_for_health(machine, name, "healthy")


def test_the_check_of_an_image_and_who_declines_it(machine: Machine) -> None:
    check = ("--health-cmd", "echo from the image", "--health-interval", "200ms", "--health-retries", "7")
    machine("commit", machine("create", *check, "busybox", "true"), "checked:1")
    try:
        name = machine("run", "-d", "--health-retries", "4", "checked:1", "sleep", "3600")
        expected = {"Test": ["CMD-SHELL", "echo from the image"], "Interval": 200_000_000, "Retries": 4}
        assert machine.inspect(name)["Config"]["Healthcheck"] == expected
        wait_for_health(machine, name, "healthy")
        assert machine.inspect(name)["State"]["Health"]["Log"][0]["Output"] == "from the image\n"
        deaf = machine("run", "-d", "--no-healthcheck", "checked:1", "sleep", "3600")
        assert "Health" not in machine.inspect(deaf)["State"]
        assert machine("ps", "-q", "--no-trunc", "--filter", "health=none") == deaf
    finally:
        machine("rm", "-f", *machine.containers())
        machine("rmi", "checked:1")


def test_flags_that_contradict_each_other(machine: Machine) -> None:
    words = ("run", "--no-healthcheck", "--health-cmd", "true", "busybox")
    assert "--no-healthcheck conflicts with --health-* options" in machine.fails(125, *words)
    assert "cannot be less than 1ms" in machine.fails(125, "run", "--health-interval", "1us", "busybox", "true")
    assert "--health-retries cannot be negative" in machine.fails(125, "run", "--health-retries", "-1", "busybox")
