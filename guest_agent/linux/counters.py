"""What the kernel counts for the machine as a whole, and for a network namespace, as text in /proc."""

from __future__ import annotations

import os
from typing import NamedTuple

#: user, nice, system, idle, iowait, irq, softirq: what dockerd adds up, without steal and guests' time.
_CPU_FIELDS = 7


class InterfaceCount(NamedTuple):
    """Of one network interface since it was made."""

    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


def read_cpu_time() -> int:
    """Nanoseconds that all CPUs together have spent, idle or not, since boot."""
    with open("/proc/stat") as file:
        return parse_cpu_time(file.readline(), os.sysconf("SC_CLK_TCK"))


def parse_cpu_time(line: str, ticks_a_second: int) -> int:
    ticks = sum(int(word) for word in line.split()[1 : 1 + _CPU_FIELDS])
    return ticks * 10**9 // ticks_a_second


def read_interfaces(pid: int) -> dict[str, InterfaceCount]:
    """Of the process' network namespace, without its loopback; {} where the process has gone."""
    try:
        with open(f"/proc/{pid}/net/dev") as file:
            return parse_interfaces(file.read())
    except OSError:
        return {}


def parse_interfaces(text: str) -> dict[str, InterfaceCount]:
    """Two lines of titles, then `name: 8 numbers received, 8 sent` (proc_pid_net(5))."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        counts = [int(word) for word in numbers.split()]
        if name.strip() != "lo" and len(counts) >= 12:
            found[name.strip()] = InterfaceCount(*counts[:4], *counts[8:12])
    return found


def read_total_memory() -> int:
    """Bytes of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
