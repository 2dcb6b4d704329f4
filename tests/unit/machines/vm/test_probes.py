"""`doctor` on a VM machine: every known cause is found, and its fix is named."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from guest_agent.wire.errors import Unavailable
from hostvm.machines.finding import Finding
from hostvm.machines.vm import probe_guest, probe_host, probes
from hostvm.machines.vm.control import Outcome
from hostvm.machines.vm.ground import Ground
from hostvm.machines.vm.host import boot_id, start_time
from hostvm.machines.vm.paths import VmPaths
from hostvm.machines.vm.qemu import Qemu, _write_known, identity_of
from hostvm.machines.vm.secure_shell import SHARED_FILES
from hostvm.machines.vm.spec import MachineSpec


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """A machine that is stopped, and has all it needs but QEMU and an image."""
    paths = VmPaths(str(tmp_path / "data"), str(tmp_path / "run"), str(tmp_path / "cache"))
    machine = paths.machine("vm")
    for folder in (machine.folder, machine.run):
        os.makedirs(folder, 0o700)
    spec = MachineSpec("vm", cpus=2, memory=512, disk=8)
    return Ground(paths, machine, spec, (str(tmp_path),), {"PATH": str(tmp_path / "bin")}, None)


def running(ground: Ground) -> Ground:
    return replace(ground, status={"state": "running"})


def only(findings: list[Finding]) -> Finding:
    (broken,) = [finding for finding in findings if finding.problem]
    return broken


def all_well(findings: list[Finding]) -> bool:
    return bool(findings) and not any(finding.problem for finding in findings)


def fake_qemu(ground: Ground, version: str) -> str:
    path = Path(ground.environment["PATH"], f"qemu-system-{ground.spec.arch}")
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\necho QEMU emulator version {version}\n")
    path.chmod(0o755)
    return str(path)


# -- the host


def test_folders(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all_well(probe_host.probe_folders(ground))
    os.chmod(ground.machine.folder, 0o755)
    found = only(probe_host.probe_folders(ground))
    assert found.problem == "other users may look into it" and found.fix == f"chmod 700 '{ground.machine.folder}'"
    os.chmod(ground.machine.folder, 0o700)
    monkeypatch.setattr(os, "access", lambda path, mode: path != ground.machine.run)
    found = only(probe_host.probe_folders(ground))
    assert found.problem == "it isn't writable" and found.fix.startswith("set HOSTVM_RUN to another one")
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(tmp_path))
    assert "it can't be made" in only(probe_host.probe_folders(ground)).problem


def test_a_socket_path_that_is_too_long(ground: Ground) -> None:
    assert all_well(probe_host.probe_socket_path(ground)) or len(ground.machine.control_socket) > 95
    long = VmPaths("/d", "/r" + "x" * 100, "/c")
    found = only(probe_host.probe_socket_path(replace(ground, machine=long.machine("vm"))))
    assert "too long" in found.problem and "HOSTVM_RUN" in found.fix


def test_no_qemu(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostvm.machines.vm.qemu._MORE_FOLDERS", ())
    found = only(probe_host.probe_qemu(ground))
    assert found.problem == "there is no qemu-system-x86_64 on this host" and "install" in found.fix


def test_too_old_a_qemu(ground: Ground) -> None:
    fake_qemu(ground, "6.2.0")
    found = only(probe_host.probe_qemu(ground))
    assert found.problem == "it is 6.2.0; hostvm needs 7.2 or later" and "upgrade QEMU" in found.fix


@pytest.mark.parametrize(("version", "bad"), [("11.0.0", True), ("10.2.2", False), ("11.0.1", False)])
def test_a_version_that_is_known_to_be_bad(ground: Ground, version: str, bad: bool) -> None:
    program = fake_qemu(ground, version)
    entry = Qemu(program, "x86_64", version, "hvf", False, identity_of(program))
    _write_known(ground.paths.accelerators, boot_id(), {f"x86_64  {identity_of(program)}": entry})
    findings = probe_host.probe_qemu(ground)
    if bad:
        assert "known to be bad: an idle guest keeps two CPUs" in only(findings).problem
    else:
        assert all_well(findings)


@pytest.mark.parametrize(
    ("guest", "host", "device", "problem", "fix"),
    [
        ("aarch64", "x86_64", "/dev/null", "it is for aarch64, this host is x86_64", "of this host's architecture"),
        ("x86_64", "x86_64", "/no/kvm", "there is no /no/kvm", "modprobe kvm"),
        ("x86_64", "x86_64", "/dev/null", "a guest doesn't run with it", "ask whoever runs the VM"),
    ],
)
def test_why_it_is_emulated(guest: str, host: str, device: str, problem: str, fix: str) -> None:
    if os.uname().sysname == "Darwin" and device == "/no/kvm":
        problem, fix = "Hypervisor.framework didn't work", "sysctl kern.hv_support"
    told = probe_host.why_emulated(guest, host, device)
    assert problem in told[0] and fix in told[1]


def test_a_kvm_that_isnt_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert "usermod -aG kvm" in probe_host.why_emulated("x86_64", "x86_64", "/dev/null")[1]


@pytest.mark.parametrize(
    ("wanted", "there", "problem", "broken"),
    [
        (1024, 8192, "", False),
        (7000, 8192, "more than three quarters", False),
        (9000, 8192, "has only 8192 MiB", True),
    ],
)
def test_memory(wanted: int, there: int, problem: str, broken: bool) -> None:
    found = probe_host.check_memory(wanted, there)
    assert problem in found.problem and bool(found.problem) == bool(problem) and found.broken == broken
    assert "hostvm machine set --memory" in found.fix or not problem


@pytest.mark.parametrize(
    ("free", "problem", "broken"),
    [(9000, "", False), (4000, "may not fit when the machine is suspended", False), (500, "may fill up", True)],
)
def test_disk(free: int, problem: str, broken: bool) -> None:
    found = probe_host.check_disk("/data", free, 4096)
    assert problem in found.problem and bool(found.problem) == bool(problem) and found.broken == broken


def test_no_image_and_a_damaged_one(ground: Ground) -> None:
    found = only(probe_host.probe_image(ground))
    assert found.warning and "hostvm machine build-image" in found.fix
    folder = Path(ground.paths.cache, "guest", "x86_64")
    folder.mkdir(parents=True)
    (folder / "image.json").write_text("{broken")
    found = only(probe_host.probe_image(ground))
    assert found.broken and "cannot read the guest image" in found.problem and "build-image" in found.fix


def test_what_was_set_aside(ground: Ground) -> None:
    assert probe_host.probe_set_aside(ground) == []
    Path(ground.machine.folder, "machine.json.unreadable-1").write_text("")
    found = only(probe_host.probe_set_aside(ground))
    assert found.warning and found.subject == "file machine.json.unreadable-1"


def test_a_saved_state_that_cant_be_resumed(ground: Ground) -> None:
    assert all_well(probe_host.probe_saved_state(ground))
    Path(ground.machine.state_record).write_text("{broken")
    found = only(probe_host.probe_saved_state(ground))
    assert found.warning and "it can't be read" in found.problem and "boots anew" in found.fix
    identity = dict.fromkeys(("qemu", "image", "code", "hardware", "accelerator"), "x")
    document = {"id": "1", "identity": identity, "boot": "b", "disk": {"size": 1, "mtime_ns": 2}}
    Path(ground.machine.state_record).write_text(json.dumps(document))
    found = only(probe_host.probe_saved_state(ground))
    assert found.problem == f"it isn't whole: there is no {ground.machine.state}"


# -- supervisor and guest


@contextmanager
def held(path: str) -> Iterator[None]:
    """Somebody has the lock."""
    with open(path, "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a_supervisor_that_hangs(ground: Ground) -> None:
    assert all_well(probe_guest.probe_supervisor(ground))
    Path(ground.machine.supervisor_lock).write_text("")
    assert all_well(probe_guest.probe_supervisor(ground))  # a lock that nobody holds isn't stale
    with held(ground.machine.supervisor_lock):
        found = only(probe_guest.probe_supervisor(ground))
    assert found.broken and found.problem == "it runs, and doesn't answer" and "fuser -k" in found.fix


def test_a_supervisor_that_has_gone(ground: Ground) -> None:
    Path(ground.machine.control_socket).write_text("")
    found = only(probe_guest.probe_supervisor(ground))
    assert found.warning and found.problem == "it has gone without ending its machine"
    record = {"pid": os.getpid(), "started": start_time(os.getpid()) or "x"}
    Path(ground.machine.qemu_record).write_text(json.dumps(record))
    found = probe_guest.check_supervisor(ground.machine, False, False, 77)
    assert found.warning and "left its QEMU (pid 77) running" in found.problem


def test_another_command_starts_it(ground: Ground) -> None:
    assert probe_guest.probe_start(ground) == []
    with held(ground.machine.start_lock):
        assert "another command is starting" in only(probe_guest.probe_start(ground)).problem


def answer(outcome: Outcome | Unavailable) -> Callable[..., Outcome]:
    def run(_path: str, _argv: list[str], _deadline: float, _input: bytes = b"") -> Outcome:
        if isinstance(outcome, Unavailable):
            raise outcome
        return outcome

    return run


def test_a_guest_that_doesnt_answer_shows_its_console(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe_guest.probe_guest(ground) == []
    monkeypatch.setattr(probe_guest, "run_command", answer(Outcome(0, b"")))
    assert all_well(probe_guest.probe_guest(running(ground)))
    assert "is saving" in only(probe_guest.probe_guest(replace(ground, status={"state": "saving"}))).problem
    Path(ground.machine.console).write_text("\n".join(f"line {n}" for n in range(30)) + "\nKernel panic: no init\n")
    monkeypatch.setattr(probe_guest, "run_command", answer(Unavailable("the guest isn't connected")))
    found = only(probe_guest.probe_guest(running(ground)))
    assert "the guest isn't connected" in found.problem and "     | Kernel panic: no init" in found.problem
    assert "line 3\n" not in found.problem and "line 29" in found.problem
    assert found.text.endswith("hint: hostvm machine stop --shutdown, then start; `hostvm machine logs` says more\n")


@pytest.mark.parametrize(("offset", "well"), [(0, True), (-1, True), (60, False), (-3600, False)])
def test_the_clock(offset: int, well: bool) -> None:
    now = 1_700_000_000.1
    found = probe_guest.check_clock(1_700_000_000 + offset, now, now + 0.2)
    assert (not found.problem) == well
    assert well or found.problem == f"it is off by {offset:+d} seconds"


def test_shares(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = str(tmp_path / "gone")
    found = only(probe_guest.probe_shares(replace(ground, shares=(gone, str(tmp_path)))))
    assert found.warning and found.fix == f"hostvm machine set --unshare '{gone}'"
    monkeypatch.setattr(probe_guest, "run_command", answer(Outcome(0, b"")))
    assert all_well(probe_guest.probe_shares(running(ground)))
    lost = f"{SHARED_FILES}{tmp_path}\n".encode()
    monkeypatch.setattr(probe_guest, "run_command", answer(Outcome(0, lost)))
    assert only(probe_guest.probe_shares(running(ground))).problem == "the guest doesn't see it"


@pytest.mark.parametrize(
    ("free", "problem", "broken"), [(50, "", False), (8, "nearly full", False), (1, "it is full", True)]
)
def test_the_guests_disk(free: int, problem: str, broken: bool) -> None:
    table = f"Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 100 0 {free} {100 - free}% /var\n"
    found = probe_guest.check_guest_disk(table)
    assert problem in found.problem and bool(found.problem) == bool(problem) and found.broken == broken


def test_an_engine_that_doesnt_answer(ground: Ground) -> None:
    assert probe_guest.probe_engine(ground) == []
    found = only(probe_guest.probe_engine(running(ground)))
    assert "it doesn't answer" in found.problem and "hostvm machine logs" in found.fix


def test_a_probe_that_fails_is_a_finding(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def probe_something(_ground: Ground) -> list[Finding]:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(probes, "PROBES", (probe_something,))
    assert only(probes.examine(ground)).text.startswith("FAIL something: can't be examined: [Errno 5]")


def test_what_is_well_has_no_hint() -> None:
    assert Finding("x", fix="y").text == "ok   x\n"
    assert Finding("x", "p", "y", warning=True).text == "warn x: p\n     hint: y\n"
