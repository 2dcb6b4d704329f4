"""What all contenders run under."""

from __future__ import annotations

import subprocess

from tests.bench.processes import run


def enter_conditions() -> None:
    """The same for all: a loopback that is up, and cgroups v1 without the unified hierarchy."""
    run(["ip", "link", "set", "lo", "up"])
    subprocess.run(["umount", "/sys/fs/cgroup/unified"], stderr=subprocess.DEVNULL, check=False)
