"""--memory, --cpus, --pids-limit and their kin as `linux.resources`, checked before by `limit_checks`.

The OCI spec has one form for cgroup v1 and v2; the runtime converts.
"""

from __future__ import annotations

import os

from guest_agent.runtime.cgroups import CgroupFacts
from guest_agent.wire.errors import HostFailed
from guest_agent.wire.resources import BlockLimit, Resources, Ulimit

Json = dict[str, object]

#: The CFS period that --cpus is counted in (moby, oci_linux.go).
CFS_PERIOD = 100_000


def plan_resources(resources: Resources, facts: CgroupFacts) -> Json:
    """`linux.resources` without the devices; what this kernel can't count is left out."""
    planned = {"memory": _plan_memory(resources, facts), "cpu": _plan_cpu(resources)}
    result: Json = {name: values for name, values in planned.items() if values}
    if resources.pids_limit > 0:
        result["pids"] = {"limit": resources.pids_limit}
    if block_io := _plan_block_io(resources):
        result["blockIO"] = block_io
    return result


def _plan_block_io(resources: Resources) -> Json:
    planned: Json = {"weight": resources.blkio_weight} if resources.blkio_weight else {}
    for key, value_name, limits in (
        ("weightDevice", "weight", resources.blkio_weight_device),
        ("throttleReadBpsDevice", "rate", resources.blkio_read_bps),
        ("throttleWriteBpsDevice", "rate", resources.blkio_write_bps),
        ("throttleReadIOPSDevice", "rate", resources.blkio_read_iops),
        ("throttleWriteIOPSDevice", "rate", resources.blkio_write_iops),
    ):
        if limits:
            planned[key] = [_block_limit(limit, value_name) for limit in limits]
    return planned


def _block_limit(limit: BlockLimit, name: str) -> Json:
    """Raises HostFailed where there is no such path."""
    try:
        number = os.stat(limit.path).st_rdev
    except OSError as error:
        raise HostFailed(f"stat {limit.path}: {(error.strerror or '').lower()}") from error
    return {"major": os.major(number), "minor": os.minor(number), name: limit.value}


def _plan_memory(resources: Resources, facts: CgroupFacts) -> Json:
    planned: Json = {}
    if resources.memory > 0:
        planned["limit"] = resources.memory
    if facts.swap_limit and resources.memory_swap:
        planned["swap"] = resources.memory_swap
    if resources.memory_reservation > 0:
        planned["reservation"] = resources.memory_reservation
    if facts.version == 1 and resources.memory_swappiness >= 0:
        planned["swappiness"] = resources.memory_swappiness
    if facts.version == 1 and resources.oom_kill_disable:
        planned["disableOOMKiller"] = True
    return planned


def _plan_cpu(resources: Resources) -> Json:
    wanted = {
        "shares": resources.cpu_shares,
        "quota": resources.nano_cpus * CFS_PERIOD // 10**9 or max(0, resources.cpu_quota),
        "period": CFS_PERIOD if resources.nano_cpus else resources.cpu_period,
        "realtimePeriod": resources.cpu_rt_period,
        "realtimeRuntime": resources.cpu_rt_runtime,
        "cpus": resources.cpuset_cpus,
        "mems": resources.cpuset_mems,
    }
    return {name: value for name, value in wanted.items() if value}


def plan_rlimits(ulimits: tuple[Ulimit, ...]) -> list[Json]:
    """-1 is unlimited. Two of one name: the later wins, as the kernel would have it."""
    by_name = {ulimit.name: ulimit for ulimit in ulimits}
    unlimited = (1 << 64) - 1
    return [
        {
            "type": f"RLIMIT_{one.name.upper()}",
            "soft": unlimited if one.soft == -1 else one.soft,
            "hard": unlimited if one.hard == -1 else one.hard,
        }
        for one in by_name.values()
    ]
