"""--restart: who comes back, how often, and who doesn't."""

from __future__ import annotations

import signal

from tests.behaviour.conftest import MachineMaker
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
    assert "invalid restart policy" in machine.fails(1, "create", "--restart", "sometimes", "busybox").lower()


def test_who_waits_for_a_container_that_restarts(machine: Machine) -> None:
    """Between two starts it counts as running; a stop then is an end for those who wait."""
    name = machine("run", "-d", "--restart", "always", "busybox", "sh", "-c", "exit 7")
    wait_for(lambda: machine.status(name) == "restarting" and restarts(machine, name) >= 3, "a longer pause")
    waiting = machine.start("wait", name)
    assert machine.status(name) in ("restarting", "running")
    machine("stop", "-t", "0", name)
    assert waiting.communicate()[0] == b"7\n"
    machine("start", name)
    wait_for(lambda: machine.status(name) == "restarting", "it to end")
    machine("kill", "--signal", "HUP", name)
    machine("kill", name)
    assert machine.status(name) == "exited"
    waiting = machine.start("wait", machine("create", "--name", "never", "busybox"))
    assert waiting.communicate()[0] == b"0\n"


def test_a_container_that_is_removed_lets_all_go_who_wait(machine: Machine) -> None:
    machine("run", "-d", "--name", "short", "busybox", "sleep", "3600")
    waiting = [machine.start("wait", "short") for _ in range(2)]
    wait_for(lambda: machine("ps", "-q", "--filter", "name=short"), "it to run")
    machine("rm", "-f", "short")
    assert {one.communicate()[0] for one in waiting} <= {b"137\n", b""}


def test_policies_after_a_power_cut(fresh_machine: MachineMaker) -> None:
    """What a reboot brings back: all that ran and may, and `always` even where the user had stopped it."""
    machine = fresh_machine("busybox")
    for policy in ("no", "always", "unless-stopped", "on-failure:3"):
        for fate in ("ran", "stopped"):
            name = f"{policy.partition(':')[0]}-{fate}"
            machine("run", "-d", "--name", name, "--restart", policy, "--stop-timeout", "0", "busybox", "sleep", "3600")
            if fate == "stopped":
                machine("stop", name)
    machine.cut_power()
    wait_for(lambda: len(machine("ps", "-q").split()) == 4, "four to come back")
    back = set(machine("ps", "--format", "{{.Names}}").split())
    assert back == {"always-ran", "always-stopped", "unless-stopped-ran", "on-failure-ran"}
    assert machine("inspect", "-f", "{{.State.ExitCode}}", "no-ran") == "255"
