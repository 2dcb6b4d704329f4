"""A process is pid and start time, never pid alone: pids are used again."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_CHILD_SUBREAPER = 36


def start_ticks(pid: int) -> int:
    """Field 22 of /proc/<pid>/stat: clock ticks since boot. 0 where there is no such process."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else 0


def alive(pid: int, ticks: int) -> bool:
    """Does the process that was known by (pid, ticks) still run? A zombie doesn't."""
    fields = _stat_fields(pid)
    return bool(fields) and int(fields[19]) == ticks and fields[0] not in (b"Z", b"X")


def open_process(pid: int, ticks: int) -> int | None:
    """A pidfd of exactly that process, None where it has gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    if alive(pid, ticks):
        return descriptor
    os.close(descriptor)
    return None


def send_signal(pid: int, ticks: int, number: int) -> bool:
    """False where that process has gone."""
    descriptor = open_process(pid, ticks)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def become_subreaper() -> None:
    """Orphans below this process become its children (prctl(2)); an exec keeps the attribute, a fork doesn't."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _stat_fields(pid: int) -> list[bytes]:
    """From field 3 (the state) on; what stands before may hold spaces and brackets (proc_pid_stat(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
