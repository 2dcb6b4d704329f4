"""Limits that docker refuses, and those that it drops with a warning where the kernel has no such thing."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.runtime.cgroups import CgroupFacts
from guest_agent.runtime.limit_checks import parse_number_list, settle_limits
from guest_agent.runtime.support import LimitSupport, detect_support
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.resources import BlockLimit, Resources, Ulimit

MB = 1 << 20
ALL = LimitSupport(cpu_count=2, cpus="0-1", mems="0")
_SWITCHES = [field.name for field in dataclasses.fields(LimitSupport) if isinstance(getattr(ALL, field.name), bool)]
NONE = replace(ALL, **dict.fromkeys(_SWITCHES, False))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        (Resources(memory=MB), "Minimum memory limit allowed is 6MB"),
        (Resources(memory=-1), "Minimum memory limit allowed is 6MB"),
        (Resources(memory=64 * MB, memory_swap=32 * MB), "Minimum memoryswap limit should be larger than memory limit"),
        (Resources(memory_swap=64 * MB), "You should always set the Memory limit when using Memoryswap limit"),
        (Resources(memory_swappiness=101), "Invalid value: 101, valid memory swappiness range is 0-100"),
        (Resources(memory_reservation=MB), "Minimum memory reservation allowed is 6MB"),
        (Resources(memory=7 * MB, memory_reservation=8 * MB), "can not be less than memory reservation limit"),
        (Resources(nano_cpus=9 * 10**9), "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
        (Resources(nano_cpus=-1), "Range of CPUs is from 0.01 to 2.00"),
        (Resources(nano_cpus=1, cpu_quota=5000), "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        (Resources(nano_cpus=1, cpu_period=5000), "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
        (Resources(cpu_period=1), "CPU cfs period can not be less than 1ms"),
        (Resources(cpu_quota=1), "CPU cfs quota can not be less than 1ms"),
        (Resources(cpu_shares=-1), "shares: invalid argument"),
        (Resources(cpu_shares=1), "the minimum allowed cpu-shares is 2"),
        (Resources(cpu_shares=262145), "the maximum allowed cpu-shares is 262144"),
        (Resources(cpu_rt_period=5, cpu_rt_runtime=6), "cpu real-time runtime cannot be higher than cpu real-time pe"),
        (Resources(cpuset_cpus="0-9"), "Requested CPUs are not available - requested 0-9, available: 0-1"),
        (Resources(cpuset_cpus="1-0"), "Invalid value 1-0 for cpuset cpus: invalid format: 1-0"),
        (Resources(cpuset_cpus="0-99999"), "for cpuset cpus: value of out range, maximum is 8192"),
        (Resources(cpuset_mems="3"), "Requested memory nodes are not available - requested 3, available: 0"),
        (Resources(blkio_weight=5), "Range of blkio weight is from 10 to 1000"),
        (Resources(io_maximum_iops=5), "linux does not support configuration of maximum IOPs"),
        (Resources(io_maximum_bandwidth=5), "linux does not support configuration of maximum bandwidth"),
        (Resources(ulimits=(Ulimit("files", 1, 1),)), "invalid ulimit type: files"),
        (Resources(ulimits=(Ulimit("nofile", 2, 1),)), "ulimit soft limit must be less than or equal to hard limit"),
    ],
)
def test_refusals(resources: Resources, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        settle_limits(resources, ALL)


@pytest.mark.parametrize(
    ("resources", "left", "words"),
    [
        (
            Resources(memory=64 * MB),
            {"memory_swap": -1},
            "memory limit capabilities or the cgroup is not mounted. Limi",
        ),
        (Resources(memory_swappiness=5), {}, "memory swappiness capabilities or the cgroup is not mounted. Memory swa"),
        (Resources(memory_reservation=8 * MB), {}, "memory soft limit capabilities"),
        (
            Resources(oom_kill_disable=True),
            {},
            "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
        ),
        (Resources(pids_limit=5), {}, "PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded."),
        (Resources(cpu_shares=5), {}, "CPU shares or the cgroup is not mounted. Shares discarded."),
        (Resources(cpu_quota=5), {}, "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded."),
        (Resources(cpu_percent=5), {}, "linux does not support CPU percent. Percent discarded."),
        (Resources(cpuset_cpus="77"), {}, "cpuset or the cgroup is not mounted. Cpuset discarded."),
        (Resources(blkio_weight=5), {}, "Block I/O weight or the cgroup is not mounted. Weight discarded."),
        (Resources(blkio_weight_device=(BlockLimit("/x", 5),)), {}, "Block I/O weight_device or the cgroup"),
        (Resources(blkio_write_bps=(BlockLimit("/x", 5),)), {}, "BPS Block I/O write limit or the cgroup is not"),
    ],
)
def test_what_the_kernel_has_not_is_dropped_with_a_warning(
    resources: Resources, left: dict[str, int], words: str
) -> None:
    settled, (warning,) = settle_limits(resources, NONE)
    assert words in warning
    assert settled == Resources(oom_kill_disable=None, **left)  # type: ignore[arg-type]


def test_memory_without_swap_accounting() -> None:
    settled, warnings = settle_limits(Resources(memory=64 * MB), replace(ALL, swap=False))
    assert settled.memory_swap == -1
    assert warnings == (
        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without "
        "swap.",
    )


def test_swap_is_twice_the_memory_but_for_an_update() -> None:
    assert settle_limits(Resources(memory=64 * MB), ALL)[0].memory_swap == 128 * MB
    assert settle_limits(Resources(memory=64 * MB), ALL, update=True)[0].memory_swap == 0
    assert settle_limits(Resources(memory_swap=64 * MB), ALL, update=True)[0].memory_swap == 64 * MB


def test_no_oom_killer_and_no_limit() -> None:
    _, (warning,) = settle_limits(Resources(oom_kill_disable=True), ALL)
    assert warning.startswith("OOM killer is disabled for the container, but no memory limit is set")


def test_number_lists() -> None:
    assert parse_number_list("0-2,7") == {0, 1, 2, 7}
    assert parse_number_list("") == frozenset()


@given(st.text(alphabet="0123456789-, x", max_size=12))
def test_any_text_is_a_list_or_refused(text: str) -> None:
    try:
        assert all(number >= 0 for number in parse_number_list(text))
    except ValueError as error:
        assert text in str(error) or "out range" in str(error)


def test_support_on_v1(tmp_path: Path) -> None:
    files = {"memory": ["memory.soft_limit_in_bytes"], "cpu": ["cpu.cfs_quota_us"], "blkio": ["blkio.bfq.weight"]}
    for controller, names in files.items():
        (tmp_path / controller).mkdir()
        for name in names:
            (tmp_path / controller / name).touch()
    support = detect_support(CgroupFacts(1, False, {name: str(tmp_path / name) for name in files}, swap_limit=True))
    assert (support.memory, support.swap, support.memory_reservation, support.cpu_cfs) == (True, True, True, True)
    assert support.blkio_weight and not support.blkio_weight_device
    assert not (support.cpu_shares or support.pids or support.swappiness or support.cpuset or support.cpu_realtime)


def test_support_on_v2(tmp_path: Path) -> None:
    group = tmp_path / "hostvm"
    group.mkdir()
    for name in ("memory.max", "memory.swap.max", "cpu.max", "io.max"):
        (group / name).touch()
    support = detect_support(CgroupFacts(2, False, {"": str(tmp_path)}, swap_limit=True))
    assert support.memory and support.swap and support.cpu_cfs and support.blkio_throttle
    assert not (support.oom_kill_disable or support.swappiness or support.blkio_weight or support.pids)
