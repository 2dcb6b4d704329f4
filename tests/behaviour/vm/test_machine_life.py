"""The machine's life: one start whoever asks, what is resumed and what isn't, crashes, and idleness."""

from __future__ import annotations

import glob
import json
import os
import time
from collections.abc import Callable

import pytest

from hostvm.machines.vm.control import ask
from tests.behaviour.harness.processes import is_alive
from tests.behaviour.harness.vm import NAME, VmMachine
from tests.behaviour.harness.waiting import patience, wait_for


def status(machine: VmMachine) -> dict[str, object]:
    return ask(f"{machine.sockets}/control.sock", {"op": "status"}, patience())


def edit_record(machine: VmMachine, **identity: str) -> None:
    path = f"{machine.home}/state.json"
    with open(path, encoding="utf-8") as file:
        record = json.load(file)
    record["identity"].update(identity)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(record, file)


def truncate(path: str) -> None:
    os.truncate(path, os.stat(path).st_size // 2)


# -- starts


def test_starts_at_once_are_one_start(vm: VmMachine) -> None:
    vm.stop()
    clients = [vm.start("ps", "-q") for _ in range(4)]
    for client in clients:
        with client:
            client.communicate()
            assert client.returncode == 0
    assert sorted(vm.roles()) == ["engine", "keeper", "qemu", "supervisor"]


def test_a_command_while_the_machine_shuts_down(vm: VmMachine) -> None:
    """It waits for the end, and starts the machine again."""
    vm("run", "-d", "busybox", "sh", "-c", "trap 'sleep 2; exit' TERM; while :; do sleep 0.1; done")
    with vm.start("machine", "stop", "--shutdown", NAME) as stopping:
        wait_for(lambda: not os.path.exists(vm.socket), "the engine's socket to go")
        assert vm("run", "--rm", "busybox", "echo", "back") == "back"
        stopping.communicate()
        assert stopping.returncode == 0
    assert sorted(vm.roles()) == ["engine", "keeper", "qemu", "supervisor"]


# -- saved states

#: What may have happened to a saved state before the machine is started again.
FOREIGN: dict[str, Callable[[VmMachine], None]] = {
    "another QEMU": lambda vm: edit_record(vm, qemu="/usr/bin/other:1:1"),
    "another image": lambda vm: edit_record(vm, image="0" * 64),
    "another version": lambda vm: edit_record(vm, code="0" * 64),
    "other hardware": lambda vm: edit_record(vm, hardware="0" * 64),
    "another accelerator": lambda vm: edit_record(vm, accelerator="hvf"),
    "a disk that was used": lambda vm: os.utime(f"{vm.home}/disk.raw"),
    "half a record": lambda vm: truncate(f"{vm.home}/state.json"),
    "half a state": lambda vm: truncate(f"{vm.home}/state"),
    "no state": lambda vm: os.unlink(f"{vm.home}/state"),
}


@pytest.mark.parametrize("change", FOREIGN)
def test_a_state_that_doesnt_fit_is_never_resumed(vm: VmMachine, change: str) -> None:
    """Containers are gone with the memory, what they wrote isn't; and the machine says why."""
    vm(
        "run",
        "-d",
        "--name",
        "lost",
        "-v",
        "kept:/data",
        "busybox",
        "sh",
        "-c",
        "echo it > /data/file; sync; sleep 3600",
    )
    wait_for(lambda: vm.attempt("exec", "lost", "cat", "/data/file").out == "it\n", "the file")
    vm.suspend()
    FOREIGN[change](vm)
    said = vm.attempt("machine", "start", NAME).err
    assert "state was not resumed: " in said
    assert said.count("\n") == 1
    assert vm.status("lost") == "exited"
    assert vm("run", "--rm", "-v", "kept:/data", "busybox", "cat", "/data/file") == "it"
    now = status(vm)
    assert now["way"] in ("boot", "template")
    assert "state was not resumed" in str(now["note"])
    assert glob.glob(f"{vm.home}/state*.unreadable-*")


def test_a_save_that_is_cut_off_is_no_save(vm: VmMachine) -> None:
    """kill -9 of the supervisor while it saves: the next command goes on with the guest, which still has its memory."""
    name = vm("run", "-d", "busybox", "sleep", "3600")
    for delay in (0.0, 0.02, 0.05, 0.1, 0.2):
        with vm.start("machine", "stop", NAME) as stopping:
            time.sleep(delay)
            if pid := vm.supervisor_pid():
                vm.kill_supervisor()
                assert not is_alive(pid)
            stopping.communicate()
        assert vm.status(name) == "running"


# -- crashes


def test_a_crash_is_noticed_and_reported(vm: VmMachine) -> None:
    vm.cut_power()
    wait_for(lambda: status(vm)["state"] == "crashed", "the crash to be noticed", 2)
    assert "QEMU ended by signal 9" in str(status(vm)["note"])
    with open(f"{vm.home}/supervisor.log", encoding="utf-8") as log:
        assert "QEMU ended by signal 9" in log.read()
    assert vm("run", "--rm", "busybox", "echo", "again") == "again"
    assert status(vm)["state"] == "running"


def test_a_guest_that_panics(vm: VmMachine) -> None:
    """The kernel's last words are what is shown."""
    vm.inside(["/bin/sh", "-c", "(sleep 0.5; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 &"])
    wait_for(lambda: status(vm)["state"] == "crashed", "the crash to be noticed")
    assert "sysrq triggered crash" in str(status(vm)["note"])
    assert vm("run", "--rm", "busybox", "echo", "again") == "again"


# -- idleness


def test_an_idle_machine_suspends_itself_and_wakes(vm: VmMachine) -> None:
    name = vm("run", "-d", "busybox", "sleep", "3600")
    spec = f"{vm.home}/machine.json"
    with open(spec, encoding="utf-8") as file:
        document = json.load(file)
    with open(spec, "w", encoding="utf-8") as file:
        json.dump({**document, "idle_seconds": 1}, file)
    assert ask(f"{vm.sockets}/control.sock", {"op": "reload"}, patience()) == {"restart": False}
    vm.stop_asking()
    wait_for(lambda: status(vm)["state"] == "suspended", "the machine to suspend itself")
    assert not vm.qemu_pid()
    assert vm.status(name) == "running"
    assert status(vm)["way"] == "saved"


def test_an_idle_supervisor_sleeps(vm: VmMachine) -> None:
    """Fewer than two wake-ups a second."""
    time.sleep(1)
    pid, seconds = vm.supervisor_pid(), 10
    before = wakeups(pid)
    time.sleep(seconds)
    assert wakeups(pid) - before < 2 * seconds


def wakeups(pid: int) -> int:
    """How often its threads went to sleep of themselves."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/status"):
        with open(path, encoding="ascii") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
    return total
