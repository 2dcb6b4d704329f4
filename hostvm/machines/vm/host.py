"""Facts of this host: size, boot, and the start times by which processes are known."""

from __future__ import annotations

import os
import sys

from hostvm.machines.vm.spec import HostFacts

_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "arm64": "aarch64", "aarch64": "aarch64"}


def host_facts() -> HostFacts:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return HostFacts(cpus=os.cpu_count() or 1, memory=memory, arch=host_arch())


def host_arch() -> str:
    """x86_64 or aarch64, or what else the system says."""
    name = os.uname().machine
    return _ARCHITECTURES.get(name, name)


def boot_id() -> str:
    """Another one after each boot of the host."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return _output(["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"])


def start_time(pid: int) -> str:
    """When the process started, as text that only compares; "" where there is none, or only its remains."""
    if sys.platform != "linux":
        return _output(["/bin/ps", "-o", "lstart=", "-p", str(pid)])
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def _output(argv: list[str]) -> str:
    import subprocess

    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    return done.stdout.strip()
