"""`machine stop` saves what runs; the next command, or the next connection, goes on with it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.behaviour.harness.terminal import Terminal
from tests.behaviour.harness.vm import VmMachine
from tests.behaviour.harness.waiting import wait_for
from tests.behaviour.test_networking import SERVER, ask, ask_soon

#: How far the guest's clock may be from the host's.
SECOND = 1.0


def started(machine: VmMachine, name: str) -> tuple[int, str]:
    """By which a container's process is known: it wasn't started again when both are the same."""
    return machine.pid(name), machine("inspect", "-f", "{{.State.StartedAt}}", name)


def assert_clock_is_right(machine: VmMachine) -> None:
    """What the guest says lies between the moments before and after it is asked."""
    before = time.time()
    seen = float(machine.python_inside("import time; print(time.time())"))
    assert before - SECOND <= seen <= time.time() + SECOND


def test_containers_go_on(vm: VmMachine) -> None:
    name = vm("run", "-d", "busybox", "sh", "-c", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done")
    wait_for(lambda: vm.attempt("logs", name).out, "the first line")
    before = started(vm, name)
    vm.suspend()
    assert not vm.qemu_pid()
    assert vm.status(name) == "running"
    assert started(vm, name) == before
    count = len(vm("logs", name).splitlines())
    wait_for(lambda: len(vm("logs", name).splitlines()) > count, "another line")
    lines = vm("logs", name).splitlines()
    assert lines == [str(number) for number in range(1, len(lines) + 1)]
    assert_clock_is_right(vm)


def test_again_and_again(vm: VmMachine) -> None:
    """A state is used once; each stop makes the next."""
    name = vm("run", "-d", "-v", "data:/data", "busybox", "sleep", "3600")
    before = started(vm, name)
    for number in range(5):
        vm("exec", name, "sh", "-c", f"echo {number} >> /data/log")
        vm.suspend()
    assert started(vm, name) == before
    assert vm("exec", name, "cat", "/data/log").split() == ["0", "1", "2", "3", "4"]


@pytest.mark.usefixtures("with_debian")
def test_a_connection_wakes_the_machine(vm: VmMachine) -> None:
    name = vm("run", "-d", "-p", "8070:80", *SERVER)
    assert ask_soon("127.0.0.1", 8070) == "hello you"
    before = started(vm, name)
    vm.suspend()
    assert not vm.qemu_pid()
    assert ask("127.0.0.1", 8070) == "hello you"
    assert started(vm, name) == before


@pytest.mark.usefixtures("with_debian")
def test_a_port_stays_taken_and_is_freed(vm: VmMachine) -> None:
    """Published ports are the machine's while it sleeps, and not for longer than their container runs."""
    name = vm("run", "-d", "-p", "8070:80", *SERVER)
    vm.suspend()
    assert ask_soon("127.0.0.1", 8070) == "hello you"
    vm("rm", "-f", name)
    assert "hello" not in vm.attempt("run", "--rm", "-p", "8070:80", "busybox", "true").err


def test_a_terminal_is_told(vm: VmMachine, terminal_of: Callable[[VmMachine], Callable[..., Terminal]]) -> None:
    """What was attached ends with the streams; the container doesn't, and is attached to again."""
    open_terminal = terminal_of(vm)
    with open_terminal("run", "-it", "--name", "kept", "busybox", "sh") as screen:
        screen.expect("/ # ")
        screen.type("secret=42\r")
        screen.expect("/ # ")
        vm.suspend()
        assert screen.wait() != 0
    with open_terminal("attach", "kept") as screen:
        screen.type("echo the secret is $secret; exit 5\r")
        screen.expect("^the secret is 42$")
        assert screen.wait() == 5


def test_the_clock_is_right_after_the_host_slept(vm: VmMachine) -> None:
    """A host that sleeps stops QEMU, and the guest's clock with it."""
    vm("version")
    qemu = vm.qemu_pid()
    os.kill(qemu, signal.SIGSTOP)
    time.sleep(5)
    os.kill(qemu, signal.SIGCONT)
    wait_for(lambda: clock_offset(vm) < SECOND, "the clock to be set")


def clock_offset(machine: VmMachine) -> float:
    """At least by how many seconds the guest's clock is behind."""
    before = time.time()
    return max(0.0, before - float(machine.python_inside("import time; print(time.time())"))) or 0.001
