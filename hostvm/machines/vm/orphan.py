"""A machine's QEMU without a supervisor, as whoever is about to remove the machine's files sees it."""

from __future__ import annotations

import fcntl
import os
import signal
import time

from guest_agent.wire.errors import HostFailed
from hostvm.machines.vm.durable import read_json
from hostvm.machines.vm.host import start_time
from hostvm.machines.vm.paths import MachinePaths


def is_locked(path: str) -> bool:
    """Whether a process holds the lock; a lock file that nobody holds says nothing, and is never stale."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def find_qemu_pid(paths: MachinePaths) -> int:
    """The pid of qemu.json, where that very process lives; else 0."""
    try:
        record = read_json(paths.qemu_record) or {}
    except (OSError, ValueError):
        return 0
    pid, started = record.get("pid"), record.get("started")
    return pid if isinstance(pid, int) and started and start_time(pid) == started else 0


def end_orphan(paths: MachinePaths, deadline: float) -> None:
    """Ends the machine's QEMU, and returns when it has gone. Raises HostFailed after `deadline` seconds."""
    end = time.monotonic() + deadline
    while is_locked(paths.qemu_lock):
        pid = find_qemu_pid(paths)
        if pid:
            os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            raise HostFailed("the machine's QEMU can't be ended", f"its pid is in {paths.qemu_record}")
        time.sleep(0.02)
