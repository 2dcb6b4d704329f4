"""What is told of a container's life: the order, the attributes, the past, and who asks for part of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from tests.behaviour.conftest import MachineMaker
from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.terminal import Terminal

Told = list[dict[str, Any]]


def told(machine: Machine, *words: str) -> Told:
    """The past, as far as it is remembered."""
    text = machine("events", "--since", "1h", "--until", "0s", "--format", "json", *words)
    return [json.loads(line) for line in text.splitlines()]


def actions(events: Told) -> list[str]:
    return [event["Action"] for event in events]


def of(machine: Machine, name: str) -> Told:
    return told(machine, "--filter", "type=container", "--filter", f"container={name}")


def test_a_whole_life_in_dockers_order(machine: Machine) -> None:
    name = machine("run", "-d", "--name", "first", "--label", "tier=db", "busybox", "sleep", "3600")
    machine("pause", name)
    machine("unpause", name)
    machine("stop", "-t", "0", name)
    machine("start", name)
    machine("restart", "-t", "0", name)
    machine("rename", name, "second")
    machine("exec", name, "true")
    machine("rm", "-f", name)
    events = of(machine, name)
    stop = ["kill", "kill", "die", "stop"]  # busybox's sleep as pid 1 doesn't hear SIGTERM
    execs = ["exec_create: true ", "exec_start: true ", "exec_die"]
    assert actions(events) == [
        "create", "start", "pause", "unpause", *stop, "start", *stop, "start", "restart", "rename", *execs,
        "kill", "die", "destroy",
    ]  # fmt: skip
    attributes = {event["Action"]: event["Actor"]["Attributes"] for event in events}
    assert attributes["create"].items() >= {"image": "busybox", "name": "first", "tier": "db"}.items()
    assert attributes["rename"]["oldName"] == "/first" and attributes["rename"]["name"] == "second"
    assert (attributes["kill"]["signal"], attributes["die"]["exitCode"]) == ("9", "137")
    assert attributes["die"]["execDuration"].isdigit() and attributes["exec_die"]["exitCode"] == "0"
    signals = [event["Actor"]["Attributes"]["signal"] for event in events if event["Action"] == "kill"]
    assert signals == ["15", "9", "15", "9", "9"]
    assert {(event["id"], event["from"], event["scope"]) for event in events} == {(name, "busybox", "local")}


def test_a_run_in_the_foreground_and_one_without_memory(machine: Machine) -> None:
    machine("run", "--rm", "--name", "brief", "busybox", "true")
    assert actions(of(machine, "brief")) == ["create", "attach", "start", "die", "destroy"]
    machine.docker("run", "--rm", "--name", "dockers", "busybox", "true")
    assert actions(of(machine, "dockers")) == ["create", "attach", "start", "die", "destroy"]
    greedy = ("sh", "-c", "head -c 200m /dev/zero | tail")
    machine.attempt("run", "--name", "greedy", "-m", "16m", "--memory-swap", "16m", "busybox", *greedy)
    assert actions(of(machine, "greedy"))[-2:] == ["oom", "die"]


def test_filters_hold_together(machine: Machine) -> None:
    machine("run", "--rm", "--name", "alpha", "--label", "side=left", "busybox", "true")
    machine("run", "--rm", "--name", "alphabet", "busybox", "true")
    both = told(machine, "--filter", "container=alph", "--filter", "event=start")
    assert [event["Actor"]["Attributes"]["name"] for event in both] == ["alpha", "alphabet"]
    left = told(machine, "--filter", "label=side=left", "--filter", "event=die", "--filter", "event=create")
    assert actions(left) == ["create", "die"]
    assert told(machine, "--filter", "image=busybox", "--filter", "container=alphabet", "--filter", "type=image") == []
    soon = str(int(time.time()) + 1)  # docker's command line cuts the fraction
    assert machine.docker("events", "--since", "1h", "--until", soon, "--filter", "container=alphabet").count("\n") == 4


def test_until_a_time_to_come(machine: Machine) -> None:
    watching = machine.start("events", "--until", "-3s", "--filter", "event=create")
    while watching.poll() is None:
        machine("rm", machine("create", "busybox"))
    out, err = watching.communicate()
    assert b" container create " in out and not err and watching.returncode == 0


def test_who_detaches_is_told_of(machine: Machine, terminal: Callable[..., Terminal]) -> None:
    with terminal("run", "-it", "--name", "left", "busybox", "sh") as screen:
        screen.expect("/ # ")
        screen.type("\x10\x11")
        assert screen.wait() == 0
    with terminal("exec", "-it", "left", "sh") as screen:
        screen.expect("/ # ")
        screen.type("\x10\x11")
        assert screen.wait() == 0
    seen = actions(of(machine, "left"))
    assert "detach" in seen and "exec_detach" in seen


def test_what_follows_from_a_request(fresh_machine: MachineMaker) -> None:
    """A commit's tag comes before it, a prune is told also where there was nothing to remove (dockerd 20.10)."""
    machine = fresh_machine("busybox")
    network = machine("network", "create", "side")
    name = machine("create", "--network", "side", "--label", "tier=db", "busybox", "true")
    image = machine("commit", "-m", "text", name, "made:1")
    machine("network", "disconnect", "side", name)
    machine("rmi", "made:1")
    for noun in ("container", "image", "builder"):
        machine(noun, "prune", "-f")
    events = [(event["Type"], event["Action"], event["Actor"]) for event in told(machine)]
    after = events[[kind for kind, _, _ in events].index("network") :]
    shown = [(kind, action, actor["ID"]) for kind, action, actor in after]
    assert shown == [
        ("network", "create", network),
        ("container", "create", name),
        ("image", "tag", image),
        ("container", "commit", name),
        ("network", "disconnect", network),
        ("image", "untag", image),
        ("image", "delete", image),
        ("container", "destroy", name),
        ("container", "prune", ""),
        ("image", "prune", ""),
        ("builder", "prune", ""),
    ]
    commit, untag = after[3][2]["Attributes"], after[5][2]["Attributes"]
    assert (commit["comment"], commit["imageID"], commit["imageRef"]) == ("text", image, "made:1")
    assert untag["tier"] == "db" and after[4][2]["Attributes"]["container"] == name


def test_a_start_with_a_volume(fresh_machine: MachineMaker) -> None:
    machine = fresh_machine("busybox")
    machine("run", "--rm", "-v", "data:/data", "busybox", "true")
    chosen = ("--filter", "type=container", "--filter", "type=network", "--filter", "type=volume")
    assert [f"{event['Type']} {event['Action']}" for event in told(machine, *chosen)] == [
        "volume create", "container create", "container attach", "network connect", "volume mount", "container start",
        "container die", "network disconnect", "volume unmount", "container destroy",
    ]  # fmt: skip
