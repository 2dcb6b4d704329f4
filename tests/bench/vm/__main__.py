"""`python -m tests.bench.vm SCENARIO... [--rounds N]`; scripts/bench starts it in a network namespace of its own.

A scenario is a module of this package with `measure(rounds: int, scratch: str) -> list[Result]`.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import subprocess
import tempfile

from tests.bench.figures import Result, keep, show

RESULTS = ".cache/bench"
#: Scenario -> rounds where none are asked for; a boot takes seconds, an echo less than one.
SCENARIOS = {"boot": 3, "channel": 5, "forward": 5}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("scenarios", nargs="+", choices=SCENARIOS)
    parser.add_argument("--rounds", type=int, default=0)
    arguments = parser.parse_args()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    results = [result for name in arguments.scenarios for result in measure(name, arguments.rounds or SCENARIOS[name])]
    return 0 if all(promise.kept for result in results for promise in result.promises) else 1


def measure(name: str, rounds: int) -> list[Result]:
    scratch = tempfile.mkdtemp(prefix="hvb-")
    try:
        results: list[Result] = importlib.import_module(f"tests.bench.vm.{name}").measure(rounds, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for result in results:
        show(result)
        keep(result, RESULTS)
    return results


if __name__ == "__main__":
    raise SystemExit(main())
