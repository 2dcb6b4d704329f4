"""What a container's control groups have counted: CPU, memory, processes, block devices, for v1 and v2.

A file that isn't there counts as zeros: a controller may be missing, a group may just have gone. Sources: the kernel's
admin-guide cgroup-v1/*.rst and cgroup-v2.rst.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import NamedTuple

from guest_agent.runtime.cgroups import CgroupFacts, read_file, read_number, read_pairs

#: v1 says "no limit" by the biggest number of whole pages.
_V1_UNLIMITED = 1 << 60
#: What "max" means to Go's clients.
UNLIMITED = (1 << 64) - 1


class BlockCount(NamedTuple):
    """One line of a block device's counters; `operation` as the kernel spells it in v1, "read" or "write" in v2."""

    major: int
    minor: int
    operation: str
    value: int


@dataclass(frozen=True, slots=True)
class CpuUse:
    """Nanoseconds; `per_cpu` is empty in v2."""

    total: int = 0
    user: int = 0
    kernel: int = 0
    per_cpu: tuple[int, ...] = ()
    periods: int = 0
    throttled_periods: int = 0
    throttled: int = 0


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes; a limit of 0 is none, `peak` is 0 in v2. `details` is memory.stat as it is."""

    usage: int = 0
    peak: int = 0
    limit: int = 0
    failures: int = 0
    details: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """One look at a container's groups."""

    version: int  #: of the control groups
    cpu: CpuUse = CpuUse()
    memory: MemoryUse = MemoryUse()
    pids: int = 0
    pids_limit: int = 0  #: 0 = none (v1), UNLIMITED = none (v2)
    #: Docker's name of a list ("io_service_bytes_recursive") -> its lines; what the kernel doesn't count is missing.
    blocks: dict[str, tuple[BlockCount, ...]] = field(default_factory=dict)


def read_usage(facts: CgroupFacts, path: str) -> ResourceUse:
    """The group's counters at this moment."""
    return _read_v2(facts.folder("", path)) if facts.version == 2 else _read_v1(facts, path)


# -- v1


def _read_v1(facts: CgroupFacts, path: str) -> ResourceUse:
    pids = facts.folder("pids", path)
    return ResourceUse(
        version=1,
        cpu=_cpu_v1(facts.folder("cpuacct", path), facts.folder("cpu", path)),
        memory=_memory_v1(facts.folder("memory", path)),
        pids=read_number(f"{pids}/pids.current"),
        pids_limit=read_number(f"{pids}/pids.max"),
        blocks=_blocks_v1(facts.folder("blkio", path)),
    )


def _cpu_v1(accounting: str, scheduling: str) -> CpuUse:
    usage = read_pairs(f"{accounting}/cpuacct.stat")
    throttling = read_pairs(f"{scheduling}/cpu.stat")
    tick = 10**9 // os.sysconf("SC_CLK_TCK")
    return CpuUse(
        total=read_number(f"{accounting}/cpuacct.usage"),
        user=usage.get("user", 0) * tick,
        kernel=usage.get("system", 0) * tick,
        per_cpu=tuple(int(word) for word in read_file(f"{accounting}/cpuacct.usage_percpu").split()),
        periods=throttling.get("nr_periods", 0),
        throttled_periods=throttling.get("nr_throttled", 0),
        throttled=throttling.get("throttled_time", 0),
    )


def _memory_v1(folder: str) -> MemoryUse:
    limit = read_number(f"{folder}/memory.limit_in_bytes")
    return MemoryUse(
        usage=read_number(f"{folder}/memory.usage_in_bytes"),
        peak=read_number(f"{folder}/memory.max_usage_in_bytes"),
        limit=limit if limit < _V1_UNLIMITED else 0,
        failures=read_number(f"{folder}/memory.failcnt"),
        details=read_pairs(f"{folder}/memory.stat"),
    )


def _blocks_v1(folder: str) -> dict[str, tuple[BlockCount, ...]]:
    """The throttler counts for every scheduler, where CFQ's own counters are gone (Linux 5.0)."""
    names = {"io_service_bytes_recursive": "io_service_bytes", "io_serviced_recursive": "io_serviced"}
    return {
        shown: _block_lines(read_file(f"{folder}/blkio.throttle.{name}_recursive")) for shown, name in names.items()
    }


def _block_lines(text: str) -> tuple[BlockCount, ...]:
    """`8:0 Read 4096` a line; the total at the end belongs to no device."""
    counts = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and ":" in words[0]:
            major, _, minor = words[0].partition(":")
            counts.append(BlockCount(int(major), int(minor), words[1], int(words[2])))
    return tuple(counts)


# -- v2


def _read_v2(folder: str) -> ResourceUse:
    return ResourceUse(
        version=2,
        cpu=_cpu_v2(read_pairs(f"{folder}/cpu.stat")),
        memory=MemoryUse(
            usage=read_number(f"{folder}/memory.current"),
            limit=read_number(f"{folder}/memory.max"),
            failures=read_pairs(f"{folder}/memory.events").get("oom", 0),
            details=read_pairs(f"{folder}/memory.stat"),
        ),
        pids=read_number(f"{folder}/pids.current"),
        pids_limit=read_number(f"{folder}/pids.max") or UNLIMITED,
        blocks={"io_service_bytes_recursive": _block_counts_v2(read_file(f"{folder}/io.stat"))},
    )


def _cpu_v2(counted: dict[str, int]) -> CpuUse:
    return CpuUse(
        total=counted.get("usage_usec", 0) * 1000,
        user=counted.get("user_usec", 0) * 1000,
        kernel=counted.get("system_usec", 0) * 1000,
        periods=counted.get("nr_periods", 0),
        throttled_periods=counted.get("nr_throttled", 0),
        throttled=counted.get("throttled_usec", 0) * 1000,
    )


def _block_counts_v2(text: str) -> tuple[BlockCount, ...]:
    """`8:0 rbytes=4096 wbytes=0 rios=1 …` a line."""
    counts = []
    for line in text.splitlines():
        device, *words = line.split()
        major, _, minor = device.partition(":")
        values = dict(word.split("=", 1) for word in words if "=" in word)
        for operation, key in (("read", "rbytes"), ("write", "wbytes")):
            counts.append(BlockCount(int(major), int(minor), operation, int(values.get(key, 0))))
    return tuple(counts)
