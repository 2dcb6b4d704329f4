"""The limits in a HostConfig, checked as moby's `verifyPlatformContainerResources` does without looking at the host."""

from __future__ import annotations

from guest_agent.api.fields import Fields
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.resources import Device, Resources, Ulimit

#: moby, daemon/daemon_unix.go linuxMinMemory: what runc itself needs in the container's cgroup.
_MINIMUM_MEMORY = 6 << 20


def parse_resources(body: Fields) -> Resources:
    resources = Resources(
        memory=body.integer("Memory"),
        memory_reservation=body.integer("MemoryReservation"),
        memory_swap=body.integer("MemorySwap"),
        memory_swappiness=body.integer("MemorySwappiness", -1),
        nano_cpus=body.integer("NanoCpus"),
        cpu_shares=body.integer("CpuShares"),
        cpu_period=body.integer("CpuPeriod"),
        cpu_quota=body.integer("CpuQuota"),
        cpuset_cpus=body.text("CpusetCpus"),
        cpuset_mems=body.text("CpusetMems"),
        pids_limit=body.integer("PidsLimit"),
        blkio_weight=body.integer("BlkioWeight"),
        oom_kill_disable=body.flag("OomKillDisable"),
        ulimits=tuple(_ulimit(item) for item in body.parts("Ulimits")),
        devices=tuple(_device(item) for item in body.parts("Devices")),
    )
    _check_memory(resources)
    _check_cpu(resources)
    return resources


def _ulimit(body: Fields) -> Ulimit:
    limit = Ulimit(body.text("Name"), body.integer("Soft"), body.integer("Hard"))
    if limit.soft > limit.hard >= 0:
        raise InvalidArgument(
            f"ulimit soft limit must be less than or equal to hard limit: {limit.soft} > {limit.hard}"
        )
    return limit


def _device(body: Fields) -> Device:
    source = body.text("PathOnHost")
    target = body.text("PathInContainer") or source
    return Device(source, target, body.text("CgroupPermissions") or "rwm")


def _check_memory(resources: Resources) -> None:
    memory, swap = resources.memory, resources.memory_swap
    problem = ""
    if memory < 0 or 0 < memory < _MINIMUM_MEMORY:
        problem = "Minimum memory limit allowed is 6MB"
    elif memory == 0 and swap > 0:
        problem = "You should always set the Memory limit when using Memoryswap limit, see usage"
    elif memory and 0 < swap < memory:
        problem = "Minimum memoryswap limit should be larger than memory limit, see usage"
    elif resources.memory_reservation and memory and memory < resources.memory_reservation:
        problem = "Minimum memory limit can not be less than memory reservation limit, see usage"
    elif not -1 <= resources.memory_swappiness <= 100:
        problem = f"Invalid value: {resources.memory_swappiness}, valid memory swappiness range is 0-100"
    if problem:
        raise InvalidArgument(problem)


def _check_cpu(resources: Resources) -> None:
    problem = ""
    if resources.nano_cpus and (resources.cpu_period or resources.cpu_quota):
        other = "CPU Period" if resources.cpu_period else "CPU Quota"
        problem = f"Conflicting options: Nano CPUs and {other} cannot both be set"
    elif resources.nano_cpus < 0:
        problem = "NanoCPUs cannot be negative"
    elif resources.cpu_period and not 1000 <= resources.cpu_period <= 1_000_000:
        problem = "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
    elif 0 < resources.cpu_quota < 1000:
        problem = "CPU cfs quota can not be less than 1ms (i.e. 1000)"
    elif resources.blkio_weight and not 10 <= resources.blkio_weight <= 1000:
        problem = "Range of blkio weight is from 10 to 1000"
    if problem:
        raise InvalidArgument(problem)
