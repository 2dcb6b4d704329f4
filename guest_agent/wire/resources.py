"""The limits and devices of one container, as Docker's `Resources`: 0 (or "") means no limit."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ulimit:
    name: str  #: as in Docker: "nofile", without RLIMIT_
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class Device:
    host_path: str
    container_path: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """--gpus: devices that a driver has to find."""

    driver: str = ""
    count: int = 0  #: -1 = all
    device_ids: tuple[str, ...] = ()
    capabilities: tuple[tuple[str, ...], ...] = ()  #: an OR list of AND lists
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BlockLimit:
    """A block device's path on the host, and its weight, or bytes or operations a second."""

    path: str
    value: int


#: A limit that an update takes away, which 0 can't say.
LIFTED = -1


@dataclass(frozen=True, slots=True)
class Resources:
    memory: int = 0
    memory_reservation: int = 0
    memory_swap: int = 0  #: memory + swap; -1 = unlimited swap
    memory_swappiness: int = -1  #: -1 = the kernel's default
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0  #: LIFTED = none
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    cpu_count: int = 0  #: Windows' own, as are the next three: kept for inspect
    cpu_percent: int = 0
    io_maximum_iops: int = 0
    io_maximum_bandwidth: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0  #: 0 = none was ever said, LIFTED = an update took it away
    blkio_weight: int = 0
    blkio_weight_device: tuple[BlockLimit, ...] = ()
    blkio_read_bps: tuple[BlockLimit, ...] = ()
    blkio_write_bps: tuple[BlockLimit, ...] = ()
    blkio_read_iops: tuple[BlockLimit, ...] = ()
    blkio_write_iops: tuple[BlockLimit, ...] = ()
    oom_kill_disable: bool | None = False  #: None where the kernel has no such thing
    ulimits: tuple[Ulimit, ...] = ()
    devices: tuple[Device, ...] = ()
    device_rules: tuple[str, ...] = ()  #: "c 42:* rmw"
    device_requests: tuple[DeviceRequest, ...] = ()
