"""Counters of control groups and of the kernel, from files as both versions have them."""

from __future__ import annotations

from pathlib import Path

from guest_agent.linux.counters import InterfaceCount, parse_cpu_time, parse_interfaces
from guest_agent.runtime.cgroups import CgroupFacts
from guest_agent.runtime.usage import UNLIMITED, BlockCount, ResourceUse, read_usage

V1 = {
    "cpuacct.usage": "9000\n", "cpuacct.usage_percpu": "4000 5000 \n", "cpuacct.stat": "user 3\nsystem 2\n",
    "cpu.stat": "nr_periods 7\nnr_throttled 1\nthrottled_time 55\n", "memory.usage_in_bytes": "1000\n",
    "memory.max_usage_in_bytes": "2000\n", "memory.limit_in_bytes": "9223372036854771712\n", "memory.failcnt": "4\n",
    "memory.stat": "cache 10\ntotal_inactive_file 300\n", "pids.current": "3\n", "pids.max": "max\n",
    "blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 512\nTotal 4608\n",
}  # fmt: skip
V2 = {
    "memory.current": "1000\n", "memory.max": "4096\n", "memory.events": "low 0\noom 2\noom_kill 2\n",
    "memory.stat": "anon 10\ninactive_file 300\n", "io.stat": "8:0 rbytes=4096 wbytes=512 rios=1 wios=1\n259:1 \n",
    "cpu.stat": "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 9\nnr_throttled 1\nthrottled_usec 6\n",
    "pids.current": "3\n", "pids.max": "max\n",
}  # fmt: skip


def usage_of(version: int, files: dict[str, str], root: Path) -> ResourceUse:
    (root / "group").mkdir()
    for name, text in files.items():
        (root / "group" / name).write_text(text)
    names = [""] if version == 2 else ["cpu", "cpuacct", "memory", "pids", "blkio"]
    return read_usage(CgroupFacts(version, False, dict.fromkeys(names, str(root))), "/group")


def test_v1(tmp_path: Path) -> None:
    seen = usage_of(1, V1, tmp_path)
    assert (seen.cpu.total, seen.cpu.per_cpu, seen.cpu.user) == (9000, (4000, 5000), 30_000_000)
    assert (seen.cpu.periods, seen.cpu.throttled_periods, seen.cpu.throttled) == (7, 1, 55)
    assert (seen.memory.usage, seen.memory.peak, seen.memory.limit, seen.memory.failures) == (1000, 2000, 0, 4)
    assert (seen.memory.details["total_inactive_file"], seen.pids, seen.pids_limit) == (300, 3, 0)
    assert seen.blocks["io_service_bytes_recursive"] == (BlockCount(8, 0, "Read", 4096), BlockCount(8, 0, "Write", 512))


def test_v2(tmp_path: Path) -> None:
    seen = usage_of(2, V2, tmp_path)
    assert (seen.cpu.total, seen.cpu.user, seen.cpu.kernel, seen.cpu.per_cpu) == (5000, 3000, 2000, ())
    assert (seen.cpu.periods, seen.cpu.throttled_periods, seen.cpu.throttled) == (9, 1, 6000)
    assert (seen.memory.usage, seen.memory.limit, seen.memory.failures) == (1000, 4096, 2)
    assert (seen.pids, seen.pids_limit) == (3, UNLIMITED)
    assert seen.blocks["io_service_bytes_recursive"][:2] == (
        BlockCount(8, 0, "read", 4096),
        BlockCount(8, 0, "write", 512),
    )


def test_a_group_that_has_gone(tmp_path: Path) -> None:
    facts = CgroupFacts(1, False, {"memory": str(tmp_path)})
    assert read_usage(facts, "/gone").memory.usage == 0
    assert read_usage(CgroupFacts(2, False, {"": str(tmp_path)}), "/gone").cpu.total == 0


def test_what_the_kernel_counts() -> None:
    assert parse_cpu_time("cpu  10 1 5 80 2 1 1 50 9 9\n", 100) == 1_000_000_000
    text = (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls ...\n"
        "    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0 0 0\n"
        "  eth0:    1000      10    1    2    0     0          0         0     2000      20    3    4    0     0 0 0\n"
    )
    assert parse_interfaces(text) == {"eth0": InterfaceCount(1000, 10, 1, 2, 2000, 20, 3, 4)}
