"""`python -m tests.bench SCENARIO... [--rounds N] [--only NAME,...]`; scripts/bench starts it in its own namespaces."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile

from tests.bench.conditions import enter_conditions, in_front
from tests.bench.contenders import Contender, Docker, Hostvm, Podman
from tests.bench.figures import Result, keep, show
from tests.bench.processes import run
from tests.bench.scenarios import SCENARIOS

RESULTS = ".cache/bench"


def main() -> int:
    arguments = parse_arguments()
    enter_conditions()
    scratch = tempfile.mkdtemp(prefix="hostvm-bench-")
    try:
        archive = pack_busybox(scratch)
        with in_front():
            results = [
                measure(name, plan_contenders(f"{scratch}/{name}", arguments.only), archive, arguments.rounds)
                for name in chosen(arguments.scenarios)
            ]
    finally:
        run(["sh", "-c", 'umount --recursive --lazy "$1"/*/*/* 2>/dev/null; true', "sh", scratch])
        shutil.rmtree(scratch)
    return 0 if all(promise.kept for result in results for promise in result.promises) else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("scenarios", nargs="+", choices=[*SCENARIOS, "all"])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--only", default="hostvm,docker,podman", help="contenders, by default all")
    return parser.parse_args()


def plan_contenders(scratch: str, only: str) -> list[Contender]:
    names = only.split(",")
    return [kind(scratch) for kind in (Hostvm, Docker, Podman) if kind.name in names]


def chosen(names: list[str]) -> list[str]:
    return list(SCENARIOS) if "all" in names else names


def pack_busybox(scratch: str) -> str:
    """A root file system with Debian's busybox as a tar, for `docker import`."""
    root = f"{scratch}/busybox"
    os.makedirs(f"{root}/bin")
    shutil.copy("/bin/busybox", f"{root}/bin/busybox")
    run(["/bin/busybox", "--install", "-s", f"{root}/bin"])
    for name in os.listdir(f"{root}/bin"):
        if os.path.islink(f"{root}/bin/{name}"):
            os.unlink(f"{root}/bin/{name}")
            os.symlink("/bin/busybox", f"{root}/bin/{name}")
    archive = f"{scratch}/busybox.tar"
    run(["tar", "-C", root, "-cf", archive, "."])
    return archive


def measure(name: str, contenders: list[Contender], archive: str, rounds: int) -> Result:
    """Fresh engines for each scenario, so that none meets what another left."""
    begun: list[Contender] = []
    try:
        for contender in contenders:
            begun.append(contender)
            contender.start(archive)
        result = SCENARIOS[name](contenders, rounds)
    finally:
        for contender in begun:
            contender.stop()
    show(result)
    keep(result, RESULTS)
    return result


if __name__ == "__main__":
    raise SystemExit(main())
