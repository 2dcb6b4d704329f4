"""`python -m tests.compat SUITE... [-- pytest's arguments]`; scripts/compat starts it in namespaces of its own."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

from tests.behaviour.images.registry_process import RegistryProcess
from tests.bench.conditions import enter_conditions
from tests.bench.contenders import Docker, Hostvm
from tests.compat.scores import Outcomes, Score, compare, read_report
from tests.compat.stage import fill_registry, folder, give_images
from tests.compat.suites import CACHE, SUITES, Suite, command, source_folder

Engine = Docker | Hostvm


def main() -> int:
    arguments = parse_arguments()
    enter_conditions()
    scratch = tempfile.mkdtemp(prefix="hostvm-compat-")
    try:
        with RegistryProcess(folder(scratch, "registry")) as registry:
            fill_registry(registry)
            for name in arguments.suites:
                examine(SUITES[name], f"{scratch}/{name}", registry, arguments)
    finally:
        unmount_below(scratch)
        shutil.rmtree(scratch)
    return 0


def unmount_below(folder: str) -> None:
    """What a daemon that was killed left: network namespaces, overlays, volumes."""
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        places = [place for line in mounts if (place := line.split()[1]).startswith(f"{folder}/")]
    for place in reversed(places):
        subprocess.run(["umount", "--lazy", place], check=False)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="compat", description=__doc__)
    parser.add_argument("suites", nargs="+", choices=list(SUITES))
    parser.add_argument("--only", choices=("hostvm", "docker"), help="run this engine; the other's last report counts")
    parser.add_argument("more", nargs="*", help="after --: arguments for pytest")
    words = sys.argv[1:]
    own = words.index("--") if "--" in words else len(words)
    return parser.parse_args(words[:own], argparse.Namespace(more=words[own + 1 :]))


def examine(suite: Suite, scratch: str, registry: RegistryProcess, arguments: argparse.Namespace) -> None:
    mirror = f"http://{registry.address}"
    engines: list[Engine] = [
        Hostvm(scratch, f'[registries.mirrors]\n"docker.io" = ["{mirror}"]\n'),
        Docker(scratch, f"--registry-mirror={mirror}"),
    ]
    outcomes = {engine.name: run_suite(suite, engine, arguments) for engine in engines}
    show(suite, outcomes, compare(outcomes["hostvm"], outcomes["docker"]))
    with open(f"{CACHE}/{suite.name}.json", "w", encoding="utf-8") as file:
        json.dump(outcomes, file, indent=1)


def run_suite(suite: Suite, engine: Engine, arguments: argparse.Namespace) -> Outcomes:
    report = os.path.abspath(f"{CACHE}/{suite.name}-{engine.name}.xml")
    if arguments.only in (None, engine.name):
        engine.begin()
        try:
            give_images(engine)
            # Debian's clients first, whatever else is installed.
            path = f"/usr/bin:{os.environ['PATH']}"
            environment = {**engine.environment, **suite.environment, "DOCKER_HOST": engine.address, "PATH": path}
            subprocess.run(
                command(suite, report, arguments.more), cwd=source_folder(suite), env=environment, check=False
            )
        finally:
            engine.stop()
    return read_report(report)


def show(suite: Suite, outcomes: dict[str, Outcomes], score: Score) -> None:
    print(f"{suite.name}: {score}")
    for name in score.gaps:
        print(f"  gap: {name} ({outcomes['hostvm'].get(name, 'not run')})")


raise SystemExit(main())
