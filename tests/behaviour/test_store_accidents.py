"""What can happen to the store: an engine killed in the middle, two engines, a full disk."""

from __future__ import annotations

import glob
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.conftest import MachineMaker, Project, clean
from tests.behaviour.harness import images
from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import wait_for
from tests.behaviour.harness.worker import Worker
from tests.behaviour.images.layouts import File, make_tar
from tests.behaviour.images.unruly_registry import UnrulyRegistry


def layers_of(machine: Machine) -> set[str]:
    return set(machine.names_inside(f"{machine.data}/layers")) - {"empty"}


def test_an_engine_killed_in_the_middle_of_a_pull(fresh_machine: MachineMaker, worker: Worker) -> None:
    """Half a layer is here, another is whole: nothing of it stays, and the next pull is complete."""
    machine = fresh_machine("busybox")
    before = layers_of(machine)
    with UnrulyRegistry() as registry:
        registry.add_layer(make_tar(File("small", b"s" * 900)))
        registry.behave = {"stall"}
        name = f"{registry.address}/app:1"
        pulling = machine.start("pull", name)
        wait_for(registry.stalled.is_set, "half of the layer")
        machine.kill_engine()
        pulling.communicate()
        assert machine("images", "-q", name) == ""
        assert layers_of(machine) == before and machine.names_inside(f"{machine.data}/tmp") == []
        registry.behave.clear()
        registry.go_on.set()
        machine("pull", "-q", name)
        assert "no problem" in machine("system", "check")
        machine("rmi", name)
        assert layers_of(machine) == before


def is_connected(pid: int) -> bool:
    """Whether a command line has come to the engine: all else that it has are pipes and files."""
    try:
        return any(os.readlink(path).startswith("socket:") for path in glob.glob(f"/proc/{pid}/fd/*"))
    except FileNotFoundError:  # closed in between
        return False


@pytest.mark.parametrize("killed", ["at once", "while it goes"])
def test_an_engine_killed_in_the_middle_of_a_removal(fresh_machine: MachineMaker, tmp_path: Path, killed: str) -> None:
    """The image is there and whole, or it is gone with its layers; what nothing refers to doesn't stay."""
    machine = fresh_machine("busybox")
    before = layers_of(machine)
    root = tmp_path / "root.tar"
    root.write_bytes(make_tar(*(File(f"f{number}", b"x") for number in range(5000))))
    machine("import", str(root), "many:1")
    removing = machine.start("rmi", "many:1")
    if killed == "at once":
        wait_for(lambda: removing.poll() is not None or is_connected(removing.pid), "the request")
    else:
        wait_for(lambda: machine("images", "-q", "many") == "", "the removal of the name")
    machine.kill_engine()
    removing.communicate()
    if machine("images", "-q", "many:1"):
        assert "no problem" in machine("system", "check")
        machine("rmi", "many:1")
    wait_for(lambda: layers_of(machine) == before, "the layer's end")
    wait_for(lambda: machine.names_inside(f"{machine.data}/tmp") == [], "the end of what was put aside to be removed")


def test_two_engines_never_share_a_store(machine: Machine, tmp_path: Path) -> None:
    """By accident: the same data, another place for the sockets. The first one doesn't notice."""
    if machine.kind == "vm":
        assert "already" in machine.fails(1, "machine", "create", "vm"), "a VM's disk is its machine's alone"
        return
    result = machine.attempt("ps", environment={"HOSTVM_RUN": str(tmp_path / "run")})
    assert result.code == 1
    assert f"another engine uses {machine.data}" in result.err and "Traceback" not in result.err
    assert machine("run", "--rm", "busybox", "echo", "undisturbed") == "undisturbed"


@pytest.fixture
def small_machine(fresh_machine: MachineMaker) -> Iterator[Machine]:
    """Its data folder is on a file system with 24 MB left."""
    machine = fresh_machine()
    with machine.little_space(24 << 20):
        machine("load", "-q", "-i", images.archive("busybox"))
        yield machine
        clean(machine)


def test_a_full_disk(small_machine: Machine, worker: Worker, project: Project) -> None:
    """In a step of a build, in its context, and in a pull: the cause is named, and what was half done is gone."""
    machine = small_machine
    before = layers_of(machine)
    folder = project("FROM busybox\nRUN echo first > /first\nRUN dd if=/dev/zero of=/big bs=1M count=200\n")
    result = machine.attempt("build", "-t", "big", folder)
    assert result.code == 1 and "No space left on device" in result.out + result.err
    assert machine("images", "-q", "big") == "" and machine("ps", "-aq") == ""
    machine("builder", "prune", "-f")
    wait_for(lambda: layers_of(machine) == before, "the end of the first step's layer")
    (Path(folder) / "noise").write_bytes(os.urandom(40 << 20))
    assert "no space left on device" in machine.fails(1, "build", folder).lower()
    with UnrulyRegistry() as registry:
        registry.add_layer(make_tar(File("noise", bytes(60 << 20))))
        assert "no space left on device" in machine.fails(1, "pull", f"{registry.address}/big:1").lower()
    wait_for(lambda: layers_of(machine) == before, "the end of what was half done")
    assert machine.names_inside(f"{machine.data}/tmp") == []
    machine("build", "-q", "-t", "fine", "-", stdin=b"FROM busybox\nCMD echo fine")
    assert machine("run", "--rm", "fine") == "fine"


def test_a_disk_that_is_full_to_the_last_byte(small_machine: Machine) -> None:
    """What makes room works all the same: no container could be stopped, and no image removed."""
    machine = small_machine
    machine("run", "-d", "--name", "greedy", "busybox", "sh", "-c", "cat /dev/zero > /all; sleep 3600")
    wait_for(lambda: machine("top", "greedy", "-o", "pid,args").endswith("sleep 3600"), "the disk to be full")
    machine("tag", "busybox", "other:1")
    machine("pause", "greedy")
    machine("unpause", "greedy")
    machine("rmi", "other:1")
    machine("stop", "-t", "0", "greedy")
    machine("rm", "greedy")
    assert machine("run", "--rm", "busybox", "echo", "room") == "room"


def test_a_context_of_very_many_files(machine: Machine, tmp_path: Path) -> None:
    """With a name of any bytes and a pipe among them; ctrl-c in the middle of the upload leaves nothing."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM busybox\nCOPY . /c\nRUN ls /c | wc -l > /count\nCMD cat /count")
    for number in range(20_000):
        (folder / f"file{number}").touch()
    os.mkfifo(folder / "pipe")
    with open(os.fsencode(folder) + b"/\xff\n\x1b[31m", "w"):
        pass
    machine("build", "-q", "-t", "many", str(folder))
    # `ls` shows the newline of the strange name as it is.
    assert machine("run", "--rm", "many") in ("20002", "20003")
    building = machine.start("build", "-t", "cut", "--no-cache", str(folder))
    wait_for(lambda: is_connected(building.pid), "the upload")
    building.send_signal(signal.SIGINT)
    building.communicate()
    assert building.returncode == 130
    assert machine("images", "-q", "cut") == ""
    wait_for(lambda: machine.names_inside(f"{machine.data}/tmp") == [], "the end of what came of it")
    machine("rmi", "many")


def test_the_command_line_is_killed_in_the_middle_of_a_context(machine: Machine) -> None:
    """The tar just ends: the engine says so to nobody, and keeps nothing."""
    building = machine.start("build", "-t", "half", "-")
    assert building.stdin is not None
    building.stdin.write(make_tar(File("Dockerfile", b"FROM busybox"), File("big", bytes(3 << 20)))[: 2 << 20])
    building.stdin.flush()
    building.kill()
    building.communicate()
    wait_for(lambda: machine.names_inside(f"{machine.data}/tmp") == [], "the end of the half context")
    assert machine("images", "-q", "half") == ""
