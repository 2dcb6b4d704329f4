"""A sample of `stats` as Docker's JSON. What Go would leave out (`omitempty`) is left out here too."""

from __future__ import annotations

from guest_agent.api.render_config import Json
from guest_agent.engine.statistics import Sample
from guest_agent.wire.times import rfc3339

_BLOCK_LISTS = (
    "io_service_bytes_recursive", "io_serviced_recursive", "io_queue_recursive", "io_service_time_recursive",
    "io_wait_time_recursive", "io_merged_recursive", "io_time_recursive", "sectors_recursive",
)  # fmt: skip


def render_stats(sample: Sample, before: Sample | None) -> Json:
    """`before` is the sample that the client got last; without one there is nothing to compare with."""
    shown: Json = {
        "read": rfc3339(sample.read_ns),
        "preread": rfc3339(before.read_ns if before else 0),
        "pids_stats": _pids(sample),
        "blkio_stats": _blocks(sample),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(sample),
        "precpu_stats": _cpu(before),
        "memory_stats": _memory(sample),
        "name": sample.name,
        "id": sample.id,
    }
    if sample.networks:
        shown["networks"] = {name: count._asdict() for name, count in sample.networks.items()}
    return shown


def _present(fields: dict[str, int]) -> Json:
    return {name: value for name, value in fields.items() if value}


def _pids(sample: Sample) -> Json:
    use = sample.use
    return _present({"current": use.pids, "limit": use.pids_limit}) if use else {}


def _blocks(sample: Sample) -> Json:
    """v2 counts bytes only; what v1 doesn't count is an empty list."""
    use = sample.use
    if use is None:
        return dict.fromkeys(_BLOCK_LISTS)
    missing: list[Json] | None = [] if use.version == 1 else None
    return {
        name: [_block(*count) for count in use.blocks[name]] if name in use.blocks else missing for name in _BLOCK_LISTS
    }


def _block(major: int, minor: int, operation: str, value: int) -> Json:
    return {"major": major, "minor": minor, "op": operation, "value": value}


def _cpu(sample: Sample | None) -> Json:
    use = sample.use if sample else None
    if sample is None or use is None:
        return {
            "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        }
    cpu = use.cpu
    usage: Json = {"total_usage": cpu.total}
    if cpu.per_cpu:
        usage["percpu_usage"] = list(cpu.per_cpu)
    return {
        "cpu_usage": {**usage, "usage_in_kernelmode": cpu.kernel, "usage_in_usermode": cpu.user},
        "system_cpu_usage": sample.system_cpu,
        "online_cpus": sample.cpus,
        "throttling_data": {
            "periods": cpu.periods,
            "throttled_periods": cpu.throttled_periods,
            "throttled_time": cpu.throttled,
        },
    }


def _memory(sample: Sample) -> Json:
    """Without a limit of its own the container may use all that the machine has."""
    if sample.use is None:
        return {}
    memory = sample.use.memory
    limit = min(memory.limit or sample.memory_total, sample.memory_total)
    numbers = {"usage": memory.usage, "max_usage": memory.peak, "failcnt": memory.failures, "limit": limit}
    return {**_present(numbers), "stats": memory.details}
