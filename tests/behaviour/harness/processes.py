"""Processes of this host: of the worker, and of whatever it started."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Sequence

from tests.behaviour.harness.inside import below, process_table
from tests.behaviour.harness.waiting import wait_for


def is_alive(pid: int) -> bool:
    """Runs still (a zombie doesn't)."""
    return any(pid == other and state != "Z" for other, state, _ in process_table())


def kill_all(pids: Sequence[int]) -> None:
    """SIGKILL in this order, and waits for their end."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, pids)), f"the end of {pids}")


def kill_and_wait(pid: int, seconds: float) -> None:
    """SIGKILL, and waits for the last of its threads: the first one counts as a zombie while others still run."""
    process = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        assert select.select([process], [], [], seconds)[0], f"process {pid} doesn't end"
    finally:
        os.close(process)


def kill_below(pid: int) -> None:
    """SIGKILL to a process and all that descend from it."""
    kill_all([pid, *below(pid)])


def reap_orphans() -> None:
    """Zombies that became this process's children; a subreaper has to."""
    for pid, state, parent in process_table():
        if state == "Z" and parent == os.getpid():
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
