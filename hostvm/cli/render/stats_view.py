"""The columns of `stats`, and docker's arithmetic for them (cli/command/container/stats_helpers.go)."""

from hostvm.cli.render.units import bytes_size, human_size, truncate_id
from hostvm.cli.render.view import Row, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Fields = dict[str, object]

#: The key of a record from which no sample came, or none comes any more; CONTAINER is the name that was asked for.
INVALID, CONTAINER = "invalid", "container"


def _part(fields: "Fields", name: str) -> "Fields":
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def _number(fields: "Fields", name: str) -> int:
    value = fields.get(name)
    return int(value) if isinstance(value, int | float) else 0


def cpu_percentage(record: "Fields") -> float:
    """What the container used of one CPU between two samples; 200 is two whole CPUs."""
    now, before = _part(record, "cpu_stats"), _part(record, "precpu_stats")
    used = _number(_part(now, "cpu_usage"), "total_usage") - _number(_part(before, "cpu_usage"), "total_usage")
    passed = _number(now, "system_cpu_usage") - _number(before, "system_cpu_usage")
    if used <= 0 or passed <= 0:
        return 0.0
    return used / passed * _cpus(now) * 100


def _cpus(cpu: "Fields") -> int:
    per_cpu = _part(cpu, "cpu_usage").get("percpu_usage")
    return _number(cpu, "online_cpus") or (len(per_cpu) if isinstance(per_cpu, list) else 0)


def memory_used(record: "Fields") -> int:
    """Without the page cache that the kernel can take back at any time."""
    memory = _part(record, "memory_stats")
    usage, details = _number(memory, "usage"), _part(memory, "stats")
    cache = _number(details, "total_inactive_file" if "total_inactive_file" in details else "inactive_file")
    return usage - cache if cache < usage else usage


def memory_percentage(record: "Fields") -> float:
    limit = _number(_part(record, "memory_stats"), "limit")
    return memory_used(record) / limit * 100 if limit else 0.0


def _network(record: "Fields") -> tuple[int, int]:
    networks = [part for part in _part(record, "networks").values() if isinstance(part, dict)]
    return sum(_number(part, "rx_bytes") for part in networks), sum(_number(part, "tx_bytes") for part in networks)


def _blocks(record: "Fields") -> tuple[int, int]:
    """Bytes read and written; the kernel spells the operations with capitals or without."""
    counts = _part(record, "blkio_stats").get("io_service_bytes_recursive")
    found = [count for count in counts if isinstance(count, dict)] if isinstance(counts, list) else []
    sums = dict.fromkeys("rw", 0)
    for count in found:
        letter = str(count.get("op") or " ")[0].lower()
        if letter in sums:
            sums[letter] += _number(count, "value")
    return sums["r"], sums["w"]


def _both(pair: tuple[int, int]) -> str:
    return f"{human_size(pair[0])} / {human_size(pair[1])}"


def _memory(row: Row) -> str:
    limit = _number(_part(row.record, "memory_stats"), "limit")
    return f"{bytes_size(memory_used(row.record))} / {bytes_size(limit)}"


def _unless_invalid(text: "Callable[[Row], str]", otherwise: str = "--") -> "Callable[[Row], str]":
    return lambda row: otherwise if row.record.get(INVALID) else text(row)


def _id(row: Row) -> str:
    return row.text("id") if row.full else truncate_id(row.text("id"))


STATS = View(
    "*container.statsContext",
    "ID",
    ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"),
    {
        "Container": ("CONTAINER", lambda row: row.text(CONTAINER)),
        "ID": ("CONTAINER ID", _id),
        "Name": ("NAME", lambda row: row.text("name")[1:] or "--"),
        "CPUPerc": ("CPU %", _unless_invalid(lambda row: f"{cpu_percentage(row.record):.2f}%")),
        "MemUsage": ("MEM USAGE / LIMIT", _unless_invalid(_memory, "-- / --")),
        "MemPerc": ("MEM %", _unless_invalid(lambda row: f"{memory_percentage(row.record):.2f}%")),
        "NetIO": ("NET I/O", _unless_invalid(lambda row: _both(_network(row.record)))),
        "BlockIO": ("BLOCK I/O", _unless_invalid(lambda row: _both(_blocks(row.record)))),
        "PIDs": ("PIDS", _unless_invalid(lambda row: str(_number(_part(row.record, "pids_stats"), "current")))),
    },
)
