"""kill -9 of the supervisor: QEMU and its containers go on, and the next command finds them."""

from __future__ import annotations

import os

import pytest

from guest_agent.wire.errors import Unavailable
from tests.behaviour.harness.vm import VmMachine
from tests.behaviour.harness.waiting import wait_for
from tests.behaviour.test_networking import SERVER, ask_soon
from tests.behaviour.vm.test_suspend import started


def test_containers_outlive_it(vm: VmMachine) -> None:
    name = vm("run", "-d", "busybox", "sh", "-c", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done")
    before, qemu = started(vm, name), vm.qemu_pid()
    vm.kill_supervisor()
    assert started(vm, name) == before
    assert vm.qemu_pid() == qemu
    assert sorted(vm.roles()) == ["engine", "keeper", "qemu", "supervisor"]
    lines = vm("logs", name).splitlines()
    assert lines == [str(number) for number in range(1, len(lines) + 1)]


@pytest.mark.usefixtures("with_debian")
def test_ports_are_served_again(vm: VmMachine) -> None:
    vm("run", "-d", "-p", "8071:80", *SERVER)
    assert ask_soon("127.0.0.1", 8071) == "hello you"
    vm.kill_supervisor()
    assert vm("ps", "-q")
    assert ask_soon("127.0.0.1", 8071) == "hello you"
    assert ask_soon("::1", 8071) == "hello you"


def test_again_and_again(vm: VmMachine) -> None:
    name = vm("run", "-d", "busybox", "sleep", "3600")
    before = started(vm, name)
    for _ in range(5):
        vm.kill_supervisor()
        assert vm("exec", name, "echo", "there") == "there"
    assert started(vm, name) == before


def test_killed_while_the_machine_starts(vm: VmMachine) -> None:
    vm.stop()
    with vm.start("ps", "-q") as client:
        wait_for(vm.supervisor_pid, "a supervisor")
        vm.kill_supervisor()
        client.communicate()
    assert vm("run", "--rm", "busybox", "echo", "next") == "next"
    assert sorted(vm.roles()) == ["engine", "keeper", "qemu", "supervisor"]


def test_both_killed(vm: VmMachine) -> None:
    vm("run", "-d", "--name", "lost", "busybox", "sleep", "3600")
    qemu = vm.qemu_pid()
    vm.kill()
    assert not os.path.exists(f"/proc/{qemu}/fd/0")
    assert vm.status("lost") == "exited"


@pytest.mark.usefixtures("with_debian")
def test_the_guest_s_agent_killed(vm: VmMachine) -> None:
    """The guest's end of the channel dies: its first process brings up another."""
    name = vm("run", "-d", "-p", "8072:80", *SERVER)
    before = started(vm, name)
    keeper = vm.keeper_pid()
    ours = vm.inside(["/bin/sh", "-c", "echo $PPID"])
    agent = int(ours.stdout)
    assert agent != 1
    vm.inside(["/bin/sh", "-c", f"(sleep 0.2; kill -9 {agent}) >/dev/null 2>&1 &"])
    wait_for(lambda: vm.attempt("ps", "-q").code == 0 and not still_there(vm, agent), "another agent")
    assert (started(vm, name), vm.keeper_pid()) == (before, keeper)
    assert ask_soon("127.0.0.1", 8072) == "hello you"


def still_there(machine: VmMachine, pid: int) -> bool:
    """Whoever is asked by the agent that is being killed gets no answer."""
    try:
        return any(pid == other and state != "Z" for other, state, _, _ in machine.ask("processes"))
    except Unavailable:
        return True
