"""--restart: who comes back, how often, and who doesn't."""

from __future__ import annotations

import signal

from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import wait_for


def restarts(machine: Machine, name: str) -> int:
    return int(machine("inspect", "-f", "{{.RestartCount}}", name))


def test_on_failure_comes_back_so_many_times(machine: Machine) -> None:
    name = machine("run", "-d", "--restart", "on-failure:2", "busybox", "sh", "-c", "echo begun; exit 3")
    wait_for(lambda: machine.status(name) == "exited" and restarts(machine, name) == 2, "two restarts")
    assert machine("inspect", "-f", "{{.State.ExitCode}}", name) == "3"
    assert machine("logs", name) == "begun\nbegun\nbegun"


def test_on_failure_leaves_success_alone(machine: Machine) -> None:
    name = machine("run", "-d", "--restart", "on-failure", "busybox", "true")
    machine("wait", name)
    assert (machine.status(name), restarts(machine, name)) == ("exited", 0)


def test_always_comes_back_until_it_is_stopped(machine: Machine) -> None:
    name = machine("run", "-d", "--restart", "always", "busybox", "sh", "-c", "echo begun; sleep 0.2")
    wait_for(lambda: restarts(machine, name) >= 2, "two restarts")
    machine("stop", "-t", "0", name)
    count = restarts(machine, name)
    assert machine.status(name) == "exited"
    machine("run", "--rm", "busybox", "sleep", "1")
    assert (machine.status(name), restarts(machine, name)) == ("exited", count)


def test_a_killed_process_of_always_comes_back(machine: Machine) -> None:
    name = machine("run", "-d", "--restart", "unless-stopped", "busybox", "sleep", "3600")
    first = machine.pid(name)
    machine.signal(first, signal.SIGKILL)
    wait_for(lambda: machine.status(name) == "running" and machine.pid(name) not in (0, first), "another process")


def test_rm_and_restart_contradict_each_other(machine: Machine) -> None:
    complaint = machine.fails(125, "run", "--rm", "--restart", "always", "busybox", "true")
    assert "conflicting options: cannot specify both --restart and --rm" in complaint.lower()


def test_a_malformed_policy(machine: Machine) -> None:
    assert "invalid restart policy" in machine.fails(125, "create", "--restart", "sometimes", "busybox").lower()
