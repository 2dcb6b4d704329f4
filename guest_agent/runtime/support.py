"""Which limits this kernel can hold, asked once at the engine's start (moby, pkg/sysinfo)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from guest_agent.runtime.cgroups import PARENT, CgroupFacts

_CPUS, _NODES = "/sys/devices/system/cpu/online", "/sys/devices/system/node/online"


@dataclass(frozen=True, slots=True)
class LimitSupport:
    """`cpus` and `mems` are lists as the kernel writes them ("0-3,8"); `cpu_count` is what --cpus is held against."""

    memory: bool = True
    swap: bool = True
    memory_reservation: bool = True
    swappiness: bool = True
    oom_kill_disable: bool = True
    pids: bool = True
    cpu_shares: bool = True
    cpu_cfs: bool = True
    cpu_realtime: bool = True
    cpuset: bool = True
    blkio_weight: bool = True
    blkio_weight_device: bool = True
    blkio_throttle: bool = True
    cpu_count: int = 1
    cpus: str = "0"
    mems: str = "0"


def detect_support(facts: CgroupFacts) -> LimitSupport:
    """Of the mounted hierarchies; on v2 the engine's own group must have been made (`cgroups.prepare_v2`)."""
    plan = _plan_v2 if facts.version == 2 else _plan_v1
    return plan(facts, os.path.exists, os.cpu_count() or 1, _read(_CPUS, "0"), _read(_NODES, "0"))


def _plan_v1(facts: CgroupFacts, exists: Callable[[str], bool], count: int, cpus: str, mems: str) -> LimitSupport:
    def have(controller: str, file: str) -> bool:
        return controller in facts.hierarchies and exists(f"{facts.folder(controller, '')}/{controller}.{file}")

    return LimitSupport(
        memory="memory" in facts.hierarchies,
        swap=facts.swap_limit,
        memory_reservation=have("memory", "soft_limit_in_bytes"),
        swappiness=have("memory", "swappiness"),
        oom_kill_disable=have("memory", "oom_control"),
        pids="pids" in facts.hierarchies,
        cpu_shares=have("cpu", "shares"),
        cpu_cfs=have("cpu", "cfs_quota_us"),
        cpu_realtime=have("cpu", "rt_period_us"),
        cpuset="cpuset" in facts.hierarchies,
        blkio_weight=have("blkio", "weight") or have("blkio", "bfq.weight"),
        blkio_weight_device=have("blkio", "weight_device"),
        blkio_throttle=have("blkio", "throttle.read_bps_device"),
        cpu_count=count,
        cpus=cpus,
        mems=mems,
    )


def _plan_v2(facts: CgroupFacts, exists: Callable[[str], bool], count: int, cpus: str, mems: str) -> LimitSupport:
    """The root group has no limits, so it is ours that tells. Swappiness and OOM control are v1's alone."""
    folder = f"{facts.hierarchies['']}{PARENT}"

    def have(file: str) -> bool:
        return exists(f"{folder}/{file}")

    weight = have("io.bfq.weight") or have("io.weight")
    return LimitSupport(
        memory=have("memory.max"),
        swap=facts.swap_limit and have("memory.swap.max"),
        memory_reservation=have("memory.low"),
        swappiness=False,
        oom_kill_disable=False,
        pids=have("pids.max"),
        cpu_shares=have("cpu.weight"),
        cpu_cfs=have("cpu.max"),
        cpu_realtime=False,
        cpuset=have("cpuset.cpus"),
        blkio_weight=weight,
        blkio_weight_device=weight,
        blkio_throttle=have("io.max"),
        cpu_count=count,
        cpus=cpus,
        mems=mems,
    )


def _read(path: str, default: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip() or default
    except OSError:
        return default
