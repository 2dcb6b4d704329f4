"""What is measured: each scenario gives one Result. Rounds are interleaved, in turn from another contender on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence

from tests.bench.bare_crun import BareCrun
from tests.bench.calls import measure_api
from tests.bench.contenders import Contender, Hostvm
from tests.bench.crowd import measure_crowd
from tests.bench.figures import Promise, Result
from tests.bench.latency import measure_port
from tests.bench.processes import run
from tests.bench.pulls import measure_pull
from tests.bench.timing import Samples, interleave, milliseconds

BARE = "unshare -m crun"
LONG_RUNNING = ("-d", "busybox", "sleep", "3600")


def timed(contender: Contender, argv: list[str]) -> Callable[[], float]:
    return lambda: milliseconds(argv, contender.environment)


def ratio_promises(result_title: str, ours: float, theirs: Mapping[str, float], at_least: float) -> list[Promise]:
    return [
        Promise(f"{result_title}, hostvm against {name}", value / ours, at_least=at_least)
        for name, value in theirs.items()
    ]


def measure_run(contenders: Sequence[Contender], rounds: int) -> Result:
    """`run --rm busybox true` on the bridge network, from exec to exit of the command line's process."""
    measures = {c.name: timed(c, c.run_command("--rm", "busybox", "true")) for c in contenders}
    bare = _bare_crun(contenders)
    if bare:
        measures |= {BARE: bare.in_own_mounts, "crun": bare.alone, "crun, compiled seccomp": bare.compiled}
    try:
        samples = interleave(measures, rounds)
    finally:
        if bare:
            bare.remove()
    result = Result("run", "run --rm busybox true", "ms", samples, ())
    return Result("run", result.title, "ms", samples, _run_promises(result))


def _bare_crun(contenders: Sequence[Contender]) -> BareCrun | None:
    """crun alone with the configuration that hostvm gives it; needs hostvm among the contenders."""
    ours = [contender for contender in contenders if isinstance(contender, Hostvm)]
    return BareCrun.from_hostvm(ours[0]) if ours else None


def _run_promises(result: Result) -> list[Promise]:
    if "hostvm" not in result.samples:
        return []
    ours = result.median("hostvm")
    peers = {name: result.median(name) for name in ("docker", "podman") if name in result.samples}
    promises = ratio_promises("times faster", ours, peers, 8)
    return promises + [Promise(f"hostvm against {BARE} run", ours / result.median(BARE), at_most=1.3)]


def measure_ps(contenders: Sequence[Contender], rounds: int) -> Result:
    """`ps` with 10 running containers."""
    for contender in contenders:
        start_containers(contender, 10)
    samples = interleave({c.name: timed(c, c.command("ps")) for c in contenders}, rounds)
    result = Result("ps", "ps with 10 containers", "ms", samples, ())
    if not {"hostvm", "docker"} <= samples.keys():
        return result
    ratio = result.median("hostvm") / result.median("docker")
    return Result("ps", result.title, "ms", samples, [Promise("hostvm against docker", ratio, at_most=0.8)])


def start_containers(contender: Contender, count: int) -> None:
    for _ in range(count):
        run(contender.run_command(*LONG_RUNNING), contender.environment)


def measure_parallel(contenders: Sequence[Contender], rounds: int) -> Result:
    """Containers a second with 8 `run --rm busybox true` under way at any time, 64 in a round."""
    measures = {c.name: (lambda c=c: containers_a_second(c, 64, 8)) for c in contenders}
    samples = interleave(measures, max(3, rounds // 5))
    result = Result("parallel", "8 starts in parallel", "containers/s", samples, ())
    if "hostvm" not in samples:
        return result
    theirs = {name: 1 / result.median(name) for name in samples if name != "hostvm"}
    promises = ratio_promises("times the rate", 1 / result.median("hostvm"), theirs, 8)
    return Result("parallel", result.title, result.unit, samples, promises)


def containers_a_second(contender: Contender, count: int, at_once: int) -> float:
    """By xargs, which takes next to nothing of the cores that are measured; a pool in Python takes 2 ms a start."""
    argv = contender.run_command("--rm", "busybox", "true")
    words = "".join(f"{number}\n" for number in range(count)).encode()  # `true` ignores them
    wait_until_idle()
    begin = time.perf_counter()
    run(["xargs", f"--max-procs={at_once}", "--max-args=1", *argv], contender.environment, stdin=words)
    return count / (time.perf_counter() - begin)


def wait_until_idle() -> None:
    """Until what the others left to do after their answers takes neither disk nor cores; at most 5 seconds."""
    os.sync()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        before = _idle_seconds()
        time.sleep(0.2)
        if _idle_seconds() - before > 0.95 * 0.2 * (os.cpu_count() or 1):
            return


def _idle_seconds() -> float:
    with open("/proc/uptime", encoding="ascii") as uptime:  # its second number is the sum over all cores
        return float(uptime.read().split()[1])


def measure_memory(contenders: Sequence[Contender], rounds: int) -> Result:
    """PSS that 10 more running containers add to the processes which serve them, for each container."""
    del rounds
    samples = {contender.name: [memory_of_one_more(contender) for _ in range(3)] for contender in contenders}
    result = Result("memory", "memory of one more container", "MB", samples, ())
    if "hostvm" not in samples:
        return result
    promise = Promise("hostvm, MB for each container", result.median("hostvm"), at_most=0.1)
    return Result("memory", result.title, "MB", samples, [promise])


def memory_of_one_more(contender: Contender) -> float:
    start_containers(contender, 2)  # what is imported or allocated once isn't a container's share
    before = contender.memory()
    start_containers(contender, 10)
    return (contender.memory() - before) / 10 / 1e6


def measure_ports(contenders: Sequence[Contender], rounds: int) -> Result:
    """Connect, request, answer, close: on 127.0.0.1 and on the container's own address, the same server for all."""
    samples: Samples = {}
    for port, contender in enumerate(contenders, 18080):
        if contender.name != "podman":  # its forwarding by netavark's iptables rules has the same path as docker's
            samples |= measure_port(contender, port, max(300, rounds * 20))
    result = Result("port", "a published port", "us", samples, ())
    if "hostvm" not in {contender.name for contender in contenders}:
        return result
    ratio = result.median("hostvm 127.0.0.1") / result.median("hostvm own address")
    promise = Promise("hostvm on 127.0.0.1 against the container's own address", ratio, at_most=1.2)
    return Result("port", result.title, "us", samples, [promise])


SCENARIOS = {
    "run": measure_run,
    "ps": measure_ps,
    "parallel": measure_parallel,
    "memory": measure_memory,
    "port": measure_ports,
    "pull": measure_pull,
    "api": measure_api,
    "crowd": measure_crowd,
}
