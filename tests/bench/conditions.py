"""What all contenders run under."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.processes import run

_PROCESSORS = "/sys/fs/cgroup/cpu"
#: 256 times what every other group has; the most that the kernel takes.
_MOST_SHARES = "262144"


def enter_conditions() -> None:
    """The same for all: a loopback that is up, and cgroups v1 without the unified hierarchy."""
    run(["ip", "link", "set", "lo", "up"])
    subprocess.run(["umount", "/sys/fs/cgroup/unified"], stderr=subprocess.DEVNULL, check=False)


@contextmanager
def in_front() -> Iterator[None]:
    """This process and all that it starts go before whatever else runs on the machine, where cgroups v1 are.

    By a group, which whoever is started inherits: the scheduler's autogroups would put an engine that is a session of
    its own behind one that isn't.
    """
    if not os.path.exists(f"{_PROCESSORS}/cpu.shares"):
        yield
        return
    group = tempfile.mkdtemp(prefix="hostvm-bench-", dir=_PROCESSORS)
    _write(f"{group}/cpu.shares", _MOST_SHARES)
    _write(f"{group}/cgroup.procs", "0")
    try:
        yield
    finally:
        _write(f"{_PROCESSORS}/cgroup.procs", "0")
        _remove(group)


def _remove(group: str) -> None:
    """As soon as the last of those that were killed has gone; raises OSError after 10 seconds."""
    deadline = time.monotonic() + 10
    while True:
        _reap()
        try:
            os.rmdir(group)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _reap() -> None:
    """In scripts/bench's namespace we are process 1, to whom what an engine leaves behind belongs."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
