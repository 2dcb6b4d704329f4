"""Limits as they are asked for -> limits that this kernel can hold, with docker's refusals and warnings.

The order of the checks is that of moby's verifyPlatformContainerResources: what is refused first is what dockerd
refuses first. What the kernel has not is dropped with a warning, so that the runtime doesn't fail over it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from guest_agent.runtime.support import LimitSupport
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.resources import Resources, Ulimit

#: moby daemon/daemon_unix.go: linuxMinMemory, what runc itself needs in the container's group.
MINIMUM_MEMORY = 6 << 20
#: moby accepts numbers of CPUs up to this one, whatever there is.
_MOST_CPUS = 8192
_RLIMITS = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip
_THROTTLES = (
    ("blkio_read_bps", "BPS Block I/O read limit", "Block I/O BPS read limit"),
    ("blkio_write_bps", "BPS Block I/O write limit", "Block I/O BPS write limit"),
    ("blkio_read_iops", "IOPS Block read limit", "Block I/O IOPS read limit"),
    ("blkio_write_iops", "IOPS Block write limit", "Block I/O IOPS write limit"),
)

#: The kernel takes others for these, where docker's runtime refuses them.
_LEAST_SHARES, _MOST_SHARES = 2, 1 << 18

Checked = tuple[Resources, tuple[str, ...]]
Warn = Callable[[str], None]


def settle_limits(resources: Resources, support: LimitSupport, *, update: bool = False) -> Checked:
    """The limits to store, and docker's warnings. Raises InvalidArgument in its words."""
    warnings: list[str] = []
    _check_realtime(resources, support)
    for step in (_memory, _oom_and_pids, _cpu, _cpuset, _block_io):
        resources = step(resources, support, warnings.append, update)
    for ulimit in resources.ulimits:
        check_ulimit(ulimit)
    return resources, tuple(warnings)


def _check_realtime(resources: Resources, support: LimitSupport) -> None:
    period, runtime = resources.cpu_rt_period, resources.cpu_rt_runtime
    _refuse_if(resources.io_maximum_bandwidth != 0, "invalid QoS settings: linux does not support configuration of "
               "maximum bandwidth")  # fmt: skip
    _refuse_if(resources.io_maximum_iops != 0, "invalid QoS settings: linux does not support configuration of maximum "
               "IOPs")  # fmt: skip
    _refuse_if(bool(period or runtime) and not support.cpu_realtime, "kernel does not support CPU real-time scheduler")
    _refuse_if(0 < period < runtime, "cpu real-time runtime cannot be higher than cpu real-time period")


def _refuse_if(wrong: bool, words: str, hint: str = "") -> None:
    if wrong:
        raise InvalidArgument(words, hint)


def _memory(wanted: Resources, support: LimitSupport, warn: Warn, update: bool) -> Resources:
    _refuse_if(wanted.memory != 0 and wanted.memory < MINIMUM_MEMORY, "Minimum memory limit allowed is 6MB")
    if wanted.memory > 0 and not support.memory:
        warn(_missing("memory limit capabilities", "Limitation discarded."))
        wanted = dataclasses.replace(wanted, memory=0, memory_swap=-1)
    if wanted.memory > 0 and wanted.memory_swap != -1 and not support.swap:
        warn(_missing("swap limit capabilities", "Memory limited without swap."))
        wanted = dataclasses.replace(wanted, memory_swap=-1)
    memory, swap = wanted.memory, wanted.memory_swap
    _refuse_if(0 < swap < memory, "Minimum memoryswap limit should be larger than memory limit, see usage")
    _refuse_if(
        memory == 0 and swap > 0 and not update,
        "You should always set the Memory limit when using Memoryswap limit, see usage",
    )
    if memory > 0 and swap == 0 and not update:
        wanted = dataclasses.replace(wanted, memory_swap=2 * memory)
    return _soft_memory(_swappiness(wanted, support, warn), support, warn)


def _swappiness(wanted: Resources, support: LimitSupport, warn: Warn) -> Resources:
    """-1 is as good as nothing said."""
    value = wanted.memory_swappiness
    if value != -1 and not support.swappiness:
        warn(_missing("memory swappiness capabilities", "Memory swappiness discarded."))
        return dataclasses.replace(wanted, memory_swappiness=-1)
    _refuse_if(not -1 <= value <= 100, f"Invalid value: {value}, valid memory swappiness range is 0-100")
    return wanted


def _soft_memory(wanted: Resources, support: LimitSupport, warn: Warn) -> Resources:
    if wanted.memory_reservation > 0 and not support.memory_reservation:
        warn(_missing("memory soft limit capabilities", "Limitation discarded."))
        wanted = dataclasses.replace(wanted, memory_reservation=0)
    soft = wanted.memory_reservation
    _refuse_if(0 < soft < MINIMUM_MEMORY, "Minimum memory reservation allowed is 6MB")
    _refuse_if(
        0 < wanted.memory < soft, "Minimum memory limit can not be less than memory reservation limit, see usage"
    )
    return wanted


def _oom_and_pids(wanted: Resources, support: LimitSupport, warn: Warn, update: bool) -> Resources:
    if not support.oom_kill_disable:
        if wanted.oom_kill_disable:
            warn("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
        wanted = dataclasses.replace(wanted, oom_kill_disable=None)
    if wanted.oom_kill_disable and wanted.memory == 0:
        warn(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system "
            "running out of resources."
        )
    if wanted.pids_limit > 0 and not support.pids:
        warn(_missing("PIDs limit capabilities", "PIDs limit discarded."))
        wanted = dataclasses.replace(wanted, pids_limit=0)
    return wanted


def _cpu(wanted: Resources, support: LimitSupport, warn: Warn, update: bool) -> Resources:
    nano, most = wanted.nano_cpus, support.cpu_count
    _refuse_if(nano > 0 and wanted.cpu_period > 0, "Conflicting options: Nano CPUs and CPU Period cannot both be set")
    _refuse_if(nano > 0 and wanted.cpu_quota > 0, "Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    _refuse_if(
        nano > 0 and not support.cpu_cfs,
        "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted",
    )
    _refuse_if(
        not 0 <= nano <= most * 10**9,
        f"Range of CPUs is from 0.01 to {most}.00, as there are only {most} CPUs available",
        f"--cpus {most} is the most that this machine has",
    )
    return _cfs(_shares(wanted, support, warn), support, warn)


def _shares(wanted: Resources, support: LimitSupport, warn: Warn) -> Resources:
    shares = wanted.cpu_shares
    _refuse_if(shares < 0, "shares: invalid argument")
    if shares > 0 and not support.cpu_shares:
        warn(_missing("CPU shares", "Shares discarded."))
        return dataclasses.replace(wanted, cpu_shares=0)
    _refuse_if(0 < shares < _LEAST_SHARES, f"the minimum allowed cpu-shares is {_LEAST_SHARES}")
    _refuse_if(shares > _MOST_SHARES, f"the maximum allowed cpu-shares is {_MOST_SHARES}")
    return wanted


def _cfs(wanted: Resources, support: LimitSupport, warn: Warn) -> Resources:
    if (wanted.cpu_period or wanted.cpu_quota) and not support.cpu_cfs:
        warn("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.")
        wanted = dataclasses.replace(wanted, cpu_period=0, cpu_quota=0)
    period = wanted.cpu_period
    _refuse_if(
        period != 0 and not 1000 <= period <= 1_000_000,
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    )
    _refuse_if(0 < wanted.cpu_quota < 1000, "CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if wanted.cpu_percent > 0:
        warn("linux does not support CPU percent. Percent discarded.")
        wanted = dataclasses.replace(wanted, cpu_percent=0)
    return wanted


def _cpuset(wanted: Resources, support: LimitSupport, warn: Warn, update: bool) -> Resources:
    if (wanted.cpuset_cpus or wanted.cpuset_mems) and not support.cpuset:
        warn(_missing("cpuset", "Cpuset discarded."))
        return dataclasses.replace(wanted, cpuset_cpus="", cpuset_mems="")
    _check_members(wanted.cpuset_cpus, support.cpus, "cpuset cpus", "CPUs")
    _check_members(wanted.cpuset_mems, support.mems, "cpuset mems", "memory nodes")
    return wanted


def _check_members(wanted: str, available: str, field: str, things: str) -> None:
    try:
        numbers = parse_number_list(wanted)
    except ValueError as error:
        raise InvalidArgument(f"Invalid value {wanted} for {field}: {error}") from None
    _refuse_if(
        not numbers <= parse_number_list(available),
        f"Requested {things} are not available - requested {wanted}, available: {available}",
    )


def parse_number_list(text: str) -> frozenset[int]:
    """ "0-2,7" (moby, pkg/parsers: ParseUintListMaximum). Raises ValueError in its words."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and first.isascii()) or (dash and not (last.isdecimal() and last.isascii())):
            raise ValueError(f"invalid format: {text}")
        low, high = int(first), int(last or first)
        if high < low:
            raise ValueError(f"invalid format: {text}")
        if high > _MOST_CPUS:
            raise ValueError(f"value of out range, maximum is {_MOST_CPUS}")
        found.update(range(low, high + 1))
    return frozenset(found)


def _block_io(wanted: Resources, support: LimitSupport, warn: Warn, update: bool) -> Resources:
    if wanted.blkio_weight > 0 and not support.blkio_weight:
        warn(_missing("Block I/O weight", "Weight discarded."))
        wanted = dataclasses.replace(wanted, blkio_weight=0)
    _refuse_if(
        wanted.blkio_weight != 0 and not 10 <= wanted.blkio_weight <= 1000, "Range of blkio weight is from 10 to 1000"
    )
    if wanted.blkio_weight_device and not support.blkio_weight_device:
        warn(_missing("Block I/O weight_device", "Weight-device discarded."))
        wanted = dataclasses.replace(wanted, blkio_weight_device=())
    return _drop(wanted, warn, () if support.blkio_throttle else _THROTTLES)


def _drop(wanted: Resources, warn: Warn, throttles: Iterable[tuple[str, str, str]]) -> Resources:
    for name, what, short in throttles:
        if getattr(wanted, name):
            warn(_missing(what, f"{short} discarded."))
            wanted = dataclasses.replace(wanted, **{name: ()})  # type: ignore[arg-type]
    return wanted


def _missing(what: str, consequence: str) -> str:
    return f"Your kernel does not support {what} or the cgroup is not mounted. {consequence}"


def check_ulimit(ulimit: Ulimit) -> None:
    _refuse_if(ulimit.name not in _RLIMITS, f"invalid ulimit type: {ulimit.name}")
    _refuse_if(
        ulimit.hard != -1 and (ulimit.soft == -1 or ulimit.soft > ulimit.hard),
        f"ulimit soft limit must be less than or equal to hard limit: {ulimit.soft} > {ulimit.hard}",
    )
