"""The limits in a HostConfig or in the body of an update. What they may be is for the engine to say."""

from __future__ import annotations

from guest_agent.api.fields import Fields
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.resources import BlockLimit, Device, DeviceRequest, Resources, Ulimit


def parse_resources(body: Fields) -> Resources:
    return Resources(
        memory=body.integer("Memory"),
        memory_reservation=body.integer("MemoryReservation"),
        memory_swap=body.integer("MemorySwap"),
        memory_swappiness=body.integer("MemorySwappiness", -1),
        nano_cpus=body.integer("NanoCpus"),
        cpu_shares=body.integer("CpuShares"),
        cpu_period=body.integer("CpuPeriod"),
        cpu_quota=body.integer("CpuQuota"),
        cpu_rt_period=body.integer("CpuRealtimePeriod"),
        cpu_rt_runtime=body.integer("CpuRealtimeRuntime"),
        cpu_count=body.integer("CpuCount"),
        cpu_percent=body.integer("CpuPercent"),
        io_maximum_iops=body.integer("IOMaximumIOps"),
        io_maximum_bandwidth=body.integer("IOMaximumBandwidth"),
        cpuset_cpus=body.text("CpusetCpus"),
        cpuset_mems=body.text("CpusetMems"),
        pids_limit=max(0, body.integer("PidsLimit")),
        blkio_weight=body.integer("BlkioWeight"),
        blkio_weight_device=_block_limits(body, "BlkioWeightDevice", "Weight"),
        blkio_read_bps=_block_limits(body, "BlkioDeviceReadBps"),
        blkio_write_bps=_block_limits(body, "BlkioDeviceWriteBps"),
        blkio_read_iops=_block_limits(body, "BlkioDeviceReadIOps"),
        blkio_write_iops=_block_limits(body, "BlkioDeviceWriteIOps"),
        oom_kill_disable=body.flag("OomKillDisable"),
        ulimits=tuple(_ulimit(item) for item in body.parts("Ulimits")),
        devices=tuple(_device(item) for item in body.parts("Devices")),
        device_rules=body.texts("DeviceCgroupRules") or (),
        device_requests=tuple(_device_request(item) for item in body.parts("DeviceRequests")),
    )


def _block_limits(body: Fields, name: str, value: str = "Rate") -> tuple[BlockLimit, ...]:
    limits = tuple(BlockLimit(item.text("Path"), item.integer(value)) for item in body.parts(name))
    if any(limit.value < 0 for limit in limits):
        raise InvalidArgument(f"invalid JSON: json: cannot unmarshal number into Go struct field {name} of type uint64")
    return limits


def _ulimit(body: Fields) -> Ulimit:
    return Ulimit(body.text("Name"), body.integer("Soft"), body.integer("Hard"))


def _device(body: Fields) -> Device:
    source = body.text("PathOnHost")
    target = body.text("PathInContainer") or source
    return Device(source, target, body.text("CgroupPermissions") or "rwm")


def _device_request(body: Fields) -> DeviceRequest:
    return DeviceRequest(
        driver=body.text("Driver"),
        count=body.integer("Count"),
        device_ids=body.texts("DeviceIDs") or (),
        capabilities=body.text_lists("Capabilities"),
        options=body.text_map("Options"),
    )
