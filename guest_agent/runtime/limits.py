"""--memory, --cpus, --pids-limit and their kin: checked as docker checks them, and as `linux.resources`.

The OCI spec has one form for cgroup v1 and v2; the runtime converts.
"""

from __future__ import annotations

from guest_agent.runtime.cgroups import CgroupFacts
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.resources import Resources, Ulimit

Json = dict[str, object]

#: moby daemon/daemon_unix.go: linuxMinMemory
MINIMUM_MEMORY = 6 << 20
#: The CFS period that --cpus is counted in (moby, oci_linux.go).
CFS_PERIOD = 100_000
_RLIMITS = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip


def check_resources(resources: Resources, cpus: int) -> None:
    """InvalidArgument in docker's words. `cpus` is how many this machine has."""
    _check_memory(resources)
    if resources.nano_cpus and (resources.cpu_quota or resources.cpu_period):
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if resources.nano_cpus < 0 or resources.nano_cpus > cpus * 10**9:
        raise InvalidArgument(
            f"Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available",
            f"--cpus {cpus} is the most that this machine has",
        )
    if resources.cpu_period and not 1000 <= resources.cpu_period <= 1_000_000:
        raise InvalidArgument("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < resources.cpu_quota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if resources.blkio_weight and not 10 <= resources.blkio_weight <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    for ulimit in resources.ulimits:
        check_ulimit(ulimit)


def _check_memory(resources: Resources) -> None:
    memory, swap = resources.memory, resources.memory_swap
    if 0 < memory < MINIMUM_MEMORY:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if memory > 0 and 0 < swap < memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory == 0 and swap > 0:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    if memory > 0 and memory < resources.memory_reservation:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")


def check_ulimit(ulimit: Ulimit) -> None:
    if ulimit.name not in _RLIMITS:
        raise InvalidArgument(f"invalid ulimit type: {ulimit.name}")
    if ulimit.hard != -1 and (ulimit.soft == -1 or ulimit.soft > ulimit.hard):
        raise InvalidArgument(
            f"ulimit soft limit must be less than or equal to hard limit: {ulimit.soft} > {ulimit.hard}"
        )


def plan_resources(resources: Resources, facts: CgroupFacts) -> Json:
    """`linux.resources` without the devices; what this kernel can't count is left out."""
    planned = {"memory": _plan_memory(resources, facts), "cpu": _plan_cpu(resources)}
    result: Json = {name: values for name, values in planned.items() if values}
    if resources.pids_limit > 0:
        result["pids"] = {"limit": resources.pids_limit}
    if resources.blkio_weight:
        result["blockIO"] = {"weight": resources.blkio_weight}
    return result


def _plan_memory(resources: Resources, facts: CgroupFacts) -> Json:
    planned: Json = {}
    if resources.memory > 0:
        planned["limit"] = resources.memory
        if facts.swap_limit:
            planned["swap"] = resources.memory_swap or 2 * resources.memory
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
        "quota": resources.nano_cpus * CFS_PERIOD // 10**9 or resources.cpu_quota,
        "period": CFS_PERIOD if resources.nano_cpus else resources.cpu_period,
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
