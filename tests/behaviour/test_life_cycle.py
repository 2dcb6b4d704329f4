"""create, start, stop, restart, kill, pause, rename, rm, wait, ps: states, exit codes and words as docker has them."""

from __future__ import annotations

import json
import re
import signal

import pytest

from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import patience, wait_for

SLEEP = ("busybox", "sleep", "3600")
#: Ends at once at SIGTERM, which pid 1 ignores by default (pid_namespaces(7)).
OBEDIENT = ("busybox", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")


def test_create_prints_the_id_and_starts_nothing(machine: Machine) -> None:
    identity = machine("create", "--name", "later", "busybox", "echo", "done")
    assert re.fullmatch("[0-9a-f]{64}", identity)
    assert machine.status("later") == "created"
    assert machine("start", "--attach", "later") == "done"
    assert machine.status("later") == "exited"


def test_detached_run_prints_the_id(machine: Machine) -> None:
    identity = machine("run", "-d", *SLEEP)
    assert machine.containers() == [identity]
    assert machine("ps", "-q") == identity[:12]
    assert machine("ps", "-q", "--no-trunc") == identity


@pytest.mark.parametrize("code", [0, 1, 7, 126, 127, 255])
def test_the_exit_code_is_the_process_s(machine: Machine, code: int) -> None:
    assert machine.attempt("run", "--rm", "busybox", "sh", "-c", f"exit {code}").code == code


def test_a_signal_is_128_and_more(machine: Machine) -> None:
    name = machine("run", "-d", *SLEEP)
    machine("kill", name)
    assert machine("wait", name) == "137"


def test_stop_sends_the_signal_and_keeps_the_code(machine: Machine) -> None:
    name = machine("run", "-d", *OBEDIENT)
    machine("exec", name, "true")
    assert machine("stop", name) == name
    assert machine("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name) == "exited 3"


def test_stop_kills_after_the_time(machine: Machine) -> None:
    name = machine("run", "-d", *SLEEP)
    machine("stop", "--time", "0", name)
    assert machine("inspect", "-f", "{{.State.ExitCode}}", name) == "137"


def test_the_stop_signal_of_the_container(machine: Machine) -> None:
    script = "trap 'exit 9' USR1; while :; do sleep 0.1; done"
    name = machine("run", "-d", "--stop-signal", "USR1", "busybox", "sh", "-c", script)
    machine("exec", name, "true")
    machine("stop", name)
    assert machine("inspect", "-f", "{{.State.ExitCode}}", name) == "9"


def test_stop_timeout_of_the_container(machine: Machine) -> None:
    name = machine("run", "-d", "--stop-timeout", "1", *SLEEP)
    machine("stop", name)
    assert machine("inspect", "-f", "{{.State.ExitCode}}", name) == "137"


def test_stopping_a_stopped_container_is_fine(machine: Machine) -> None:
    name = machine("run", "-d", "busybox", "true")
    machine("wait", name)
    assert machine("stop", name) == name
    assert "is not running" in machine.fails(1, "kill", name)


def test_start_again_keeps_the_file_system(machine: Machine) -> None:
    name = machine("create", "busybox", "sh", "-c", "echo line >> /log; cat /log")
    assert machine("start", "-a", name) == "line"
    assert machine("start", "-a", name) == "line\nline"


def test_start_interactively(machine: Machine) -> None:
    name = machine("create", "-i", "busybox", "cat")
    assert machine("start", "-ai", name, stdin=b"typed\n") == "typed"


def test_restart(machine: Machine) -> None:
    name = machine("run", "-d", *OBEDIENT)
    machine("exec", name, "true")
    first = machine.pid(name)
    assert machine("restart", name) == name
    assert machine.pid(name) != first
    assert machine.status(name) == "running"


def test_restart_is_not_the_end_that_rm_means(machine: Machine) -> None:
    name = machine("run", "-d", "--rm", *OBEDIENT)
    machine("exec", name, "touch", "/mine")
    machine("restart", "-t", "0", name)
    machine("exec", name, "test", "-e", "/mine")
    machine("stop", "-t", "0", name)
    assert machine.containers() == []


def test_kill_with_another_signal(machine: Machine) -> None:
    script = "trap 'echo got it; exit 4' HUP; while :; do sleep 0.1; done"
    name = machine("run", "-d", "busybox", "sh", "-c", script)
    machine("exec", name, "true")
    machine("kill", "--signal", "HUP", name)
    assert machine("wait", name) == "4"
    assert machine("logs", name) == "got it"


def test_rm_of_a_running_container_needs_force(machine: Machine) -> None:
    machine("run", "-d", "--name", "busy", *SLEEP)
    complaint = machine.fails(1, "rm", "busy")
    assert 'cannot remove container "/busy": container is running: stop the container before' in complaint
    assert machine("rm", "-f", "busy") == "busy"
    assert machine.containers() == []


def test_rm_of_many_goes_on_after_an_unknown_one(machine: Machine) -> None:
    for name in ("one", "two"):
        machine("create", "--name", name, "busybox")
    result = machine.attempt("rm", "one", "nobody", "two")
    assert (result.code, result.out.split()) == (1, ["one", "two"])
    assert "Error response from daemon: No such container: nobody" in result.err


def test_run_rm_leaves_no_container(machine: Machine) -> None:
    machine("run", "--rm", "busybox", "true")
    machine.fails(5, "run", "--rm", "busybox", "sh", "-c", "exit 5")
    assert machine.containers() == []


def test_detached_rm_goes_by_itself(machine: Machine) -> None:
    name = machine("run", "-d", "--rm", *SLEEP)
    machine("stop", "-t", "0", name)
    wait_for(lambda: machine.containers() == [], "the container to be removed")


def test_wait_prints_each_code(machine: Machine) -> None:
    first = machine("run", "-d", "busybox", "sh", "-c", "exit 3")
    second = machine("run", "-d", "busybox", "sh", "-c", "exit 4")
    assert machine("wait", first, second) == "3\n4"


def test_rename(machine: Machine) -> None:
    machine("create", "--name", "old", "busybox")
    machine("rename", "old", "new")
    assert machine("inspect", "-f", "{{.Name}}", "new") == "/new"
    assert "No such container: old" in machine.fails(1, "start", "old")


def test_pause_stops_the_processes(machine: Machine) -> None:
    name = machine("run", "-d", *SLEEP)
    machine("pause", name)
    assert machine.status(name) == "paused"
    assert "(Paused)" in machine("ps")
    machine("unpause", name)
    assert machine.status(name) == "running"


def test_a_unique_prefix_names_a_container(machine: Machine) -> None:
    identity = machine("run", "-d", *SLEEP)
    assert machine("inspect", "-f", "{{.Id}}", identity[:4]) == identity
    assert "No such container: zzz" in machine.fails(1, "rm", "zzz")


def test_ps_filters_and_formats(machine: Machine) -> None:
    machine("run", "-d", "--name", "web", "--label", "tier=front", *SLEEP)
    machine.fails(2, "run", "--name", "job", "--label", "tier=back", "busybox", "sh", "-c", "exit 2")
    names = ("--format", "{{.Names}}")
    assert machine("ps", *names) == "web"
    assert machine("ps", "-a", *names) == "job\nweb"
    assert machine("ps", "-a", "--filter", "status=exited", *names) == "job"
    assert machine("ps", "-a", "--filter", "exited=2", *names) == "job"
    assert machine("ps", "-a", "--filter", "label=tier=front", *names) == "web"
    assert machine("ps", "-a", "--filter", "name=we", *names) == "web"
    assert machine("ps", "-a", "--filter", "ancestor=busybox", *names) == "job\nweb"
    assert machine("ps", "-l", *names) == "job"
    assert machine("ps", "-n", "1", *names) == "job"
    assert machine("ps", "--format", "table {{.Names}}\t{{.Image}}").splitlines()[0].split() == ["NAMES", "IMAGE"]
    record = json.loads(machine("ps", "--format", "json"))
    assert (record["Names"], record["State"], record["Image"]) == ("web", "running", "busybox")
    assert "invalid filter" in machine.fails(1, "ps", "--filter", "flavour=sweet")


def test_inspect_has_docker_s_fields(machine: Machine) -> None:
    identity = machine("run", "-d", "--name", "seen", "-e", "A=b", "--label", "l=v", "-w", "/tmp", *SLEEP)
    seen = machine.inspect("seen")
    assert (seen["Id"], seen["Name"], seen["Path"], seen["Args"]) == (identity, "/seen", "sleep", ["3600"])
    assert seen["State"]["Running"] and seen["State"]["Pid"] > 1 and not seen["State"]["OOMKilled"]
    config = seen["Config"]
    assert "A=b" in config["Env"] and config["Labels"]["l"] == "v" and config["WorkingDir"] == "/tmp"
    assert config["Image"] == "busybox" and config["Hostname"] == identity[:12]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", seen["State"]["StartedAt"])
    assert seen["HostConfig"]["NetworkMode"] in ("default", "bridge")
    assert seen["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == machine.address("seen") != ""


def test_events_tell_the_story(machine: Machine) -> None:
    name = machine("run", "-d", "--name", "told", *SLEEP)
    machine("rm", "-f", "told")
    only = ("--filter", f"container={name}", "--format", "{{.Action}}")
    story = machine("events", "--since", "10m", "--until", "0s", *only).split()
    wanted = ["create", "start", "die", "destroy"]
    assert [word for word in story if word in wanted] == wanted


def test_a_signal_to_the_command_line_reaches_the_process(machine: Machine) -> None:
    """--sig-proxy, as docker run has it."""
    script = "trap 'echo stopping; exit 8' TERM; echo ready; while :; do sleep 0.1; done"
    with machine.start("run", "--rm", "busybox", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b"stopping\n"
        assert process.wait(patience()) == 8
