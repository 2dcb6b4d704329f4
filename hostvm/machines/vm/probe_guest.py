"""What a machine's supervisor and guest say of themselves; where they don't run there is little to find."""

from __future__ import annotations

import os
import time

from guest_agent.wire.errors import HostvmError
from hostvm.client.connection import Engine, connect_unix
from hostvm.machines.finding import Finding
from hostvm.machines.vm.control import run_command
from hostvm.machines.vm.ground import Ground
from hostvm.machines.vm.orphan import find_qemu_pid, is_locked
from hostvm.machines.vm.paths import MachinePaths
from hostvm.machines.vm.secure_shell import SHARED_FILES

#: Seconds that the guest's clock may be off.
_CLOCK_LIMIT = 1.0
_DEADLINE = 10.0
_LAST_LINES = 10


def probe_supervisor(ground: Ground) -> list[Finding]:
    machine = ground.machine
    held, qemu = is_locked(machine.supervisor_lock), is_locked(machine.qemu_lock)
    return [check_supervisor(machine, ground.status is not None, held, find_qemu_pid(machine) if qemu else 0)]


def check_supervisor(machine: MachinePaths, answers: bool, held: bool, qemu: int) -> Finding:
    """`held`: a process holds its lock. `qemu`: the pid of a QEMU that lives, or 0."""
    if answers:
        return Finding("supervisor")
    if held:
        fix = f"end it, its QEMU goes on: fuser -k '{machine.supervisor_lock}'; its log: {machine.log}"
        return Finding("supervisor", "it runs, and doesn't answer", fix)
    if qemu:
        fix = "the next command starts another one, which takes QEMU over"
        return Finding("supervisor", f"it has gone, and left its QEMU (pid {qemu}) running", fix, warning=True)
    if os.path.exists(machine.control_socket):
        fix = f"the next command starts it again; its log: {machine.log}"
        return Finding("supervisor", "it has gone without ending its machine", fix, warning=True)
    return Finding("supervisor (the machine isn't running)")


def probe_start(ground: Ground) -> list[Finding]:
    if not is_locked(ground.machine.start_lock):
        return []
    fix = f"if that lasts: fuser -k '{ground.machine.start_lock}'"
    return [Finding("start", "another command is starting the machine at this moment", fix, warning=True)]


def probe_guest(ground: Ground) -> list[Finding]:
    """Whether a program runs in it, and with that the channel and the agent."""
    if ground.status is None:
        return []
    if not ground.is_running:
        state = ground.status.get("state")
        if state in ("starting", "saving", "stopping"):
            return [Finding("guest", f"the machine is {state}", "ask again in a moment", warning=True)]
        return [Finding(f"guest ({state})")]
    try:
        run_command(ground.machine.control_socket, ["/bin/true"], _DEADLINE)
    except HostvmError as error:
        said = last_lines(ground.machine.console)
        problem = f"it doesn't answer: {error.message}"
        if said:
            problem += "; its console's last lines:\n" + "".join(f"     | {line}\n" for line in said).rstrip("\n")
        fix = "hostvm machine stop --shutdown, then start; `hostvm machine logs` says more"
        return [Finding("guest", problem, fix)]
    return [Finding("guest")]


def last_lines(path: str) -> list[str]:
    """The end of the console's log."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - (1 << 14)))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-_LAST_LINES:]


def probe_clock(ground: Ground) -> list[Finding]:
    if not ground.is_running:
        return []
    before = time.time()
    told = run_command(ground.machine.control_socket, ["/bin/date", "+%s"], _DEADLINE).output
    return [check_clock(int(told), before, time.time())]


def check_clock(guest: int, before: float, after: float) -> Finding:
    """`guest` in whole seconds, rounded down, at some moment between the host's `before` and `after`."""
    if before - _CLOCK_LIMIT - 1 < guest < after + _CLOCK_LIMIT:
        return Finding("guest's clock")
    offset = guest - (before + after) / 2
    fix = "the supervisor sets it at each resume: hostvm machine stop, then start"
    return Finding("guest's clock", f"it is off by {offset:+.0f} seconds", fix)


def probe_shares(ground: Ground) -> list[Finding]:
    missing = [path for path in ground.shares if not os.path.isdir(path)]
    findings = [
        Finding(f"shared folder {path}", "it isn't there any more", f"hostvm machine set --unshare '{path}'", True)
        for path in missing
    ]
    return findings + (_shares_in_guest(ground, missing) if ground.is_running else [])


def _shares_in_guest(ground: Ground, missing: list[str]) -> list[Finding]:
    wanted = [path for path in ground.shares if path not in missing]
    script = 'for path; do [ -d "$path" ] || echo "$path"; done'
    argv = ["/bin/sh", "-c", script, "sh", *(SHARED_FILES + path for path in wanted)]
    lost = run_command(ground.machine.control_socket, argv, _DEADLINE).output.decode(errors="replace").split("\n")
    fix = f"hostvm machine stop --shutdown, then start; the supervisor's log: {ground.machine.log}"
    return [
        Finding(f"shared folder {path}", "the guest doesn't see it", fix)
        if SHARED_FILES + path in lost
        else Finding(f"shared folder {path}")
        for path in wanted
    ]


def probe_guest_disk(ground: Ground) -> list[Finding]:
    if not ground.is_running:
        return []
    argv = ["/bin/df", "-P", "-k", "/var/lib/hostvm"]
    return [check_guest_disk(run_command(ground.machine.control_socket, argv, _DEADLINE).output.decode())]


def check_guest_disk(table: str) -> Finding:
    """`table` is what `df -P -k` prints."""
    _, total, _, free, share, *_ = table.splitlines()[-1].split()
    subject = f"guest's data disk ({share} used)"
    fix = "hostvm rmi, rm and volume rm make room; or a larger one: hostvm machine set --disk 128g"
    if int(free) < int(total) // 50:
        return Finding(subject, "it is full", fix)
    if int(free) < int(total) // 10:
        return Finding(subject, "it is nearly full", fix, warning=True)
    return Finding(subject)


def probe_engine(ground: Ground) -> list[Finding]:
    if not ground.is_running:
        return []
    try:
        stream = connect_unix(ground.machine.engine_socket)
        stream.settimeout(_DEADLINE)
        Engine(lambda: stream).open("GET", "/_ping").read()
    except (OSError, HostvmError) as error:
        return [Finding("engine in the guest", f"it doesn't answer: {error}", "`hostvm machine logs` says why")]
    return [Finding("engine in the guest")]
