"""The supervisor's start. QEMU is started before asyncio is imported: both take 30 ms, and the host has two CPUs."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys
import time
from typing import NoReturn

from guest_agent.wire.errors import HostvmError, Unavailable
from hostvm.machines.vm.durable import make_private_folder
from hostvm.machines.vm.host import host_facts
from hostvm.machines.vm.launch import Launch, prepare
from hostvm.machines.vm.paths import MachinePaths, VmPaths
from hostvm.machines.vm.spec import MachineSpec
from hostvm.machines.vm.store import find_or_create
from hostvm.supervisor.process import QemuProcess, end_unrecorded, find_recorded, have_qemu, start_qemu
from hostvm.supervisor.report import Report

#: Seconds for a predecessor to finish: it may be shutting the machine down.
_LOCK_DEADLINE = 150.0
#: The log is begun anew above this.
_LONGEST_LOG = 4 << 20


def main() -> NoReturn:
    """NAME --data D --run R --cache C --config F [--ready-fd N]"""
    words = sys.argv[1:]
    options = dict(zip(words[1::2], words[2::2], strict=True))
    ready = int(options.get("--ready-fd", -1))
    if ready >= 0:
        os.set_inheritable(ready, False)
    paths = VmPaths(options["--data"], options["--run"], options["--cache"])
    sys.exit(run(paths, words[0], options["--config"], Report(ready)))


def run(paths: VmPaths, name: str, config: str, report: Report) -> int:
    """The exit code."""
    try:
        spec = find_or_create(paths, name, host_facts())
        machine = paths.machine(name)
        _enter(machine)
        lock = _take_lock(machine.supervisor_lock)
        adopted = _find_qemu(machine)
        launched = None if adopted else _launch(paths, spec, report)
    except HostvmError as error:
        report.failed(error)
        return 1
    import asyncio

    from hostvm.supervisor.serving import supervise

    return asyncio.run(supervise(paths, spec, config, launched, adopted, report, lambda: os.close(lock)))


def _enter(machine: MachinePaths) -> None:
    """Files, log and limits of a process that lives long."""
    os.umask(0o077)
    os.chdir("/")
    make_private_folder(machine.folder)
    make_private_folder(machine.run)
    if os.path.exists(machine.log) and os.stat(machine.log).st_size > _LONGEST_LOG:
        os.rename(machine.log, f"{machine.log}.1")
    log = os.open(machine.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _raise_limits()


def _raise_limits() -> None:
    """A descriptor for each connection that is relayed."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # a Mac's hard limit is more than its kernel allows (setrlimit(2), OPEN_MAX)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(10240, hard), hard))


def _take_lock(path: str) -> int:
    """One supervisor a machine. Raises Unavailable."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_DEADLINE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Unavailable("the machine has a supervisor already, which doesn't answer") from None
            time.sleep(0.01)
        else:
            return descriptor


def _find_qemu(machine: MachinePaths) -> QemuProcess | None:
    """The QEMU that a dead supervisor left, to be taken over. One that isn't known well enough is ended."""
    if not have_qemu(machine):
        return None
    process = find_recorded(machine)
    if process is None:
        end_unrecorded(machine)
    return process


def _launch(paths: VmPaths, spec: MachineSpec, report: Report) -> tuple[Launch, QemuProcess]:
    launch = prepare(paths, spec, os.environ, report.stage)
    return launch, start_qemu(paths.machine(spec.name), launch, 2)
