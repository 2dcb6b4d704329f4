"""How times are taken: rounds in turn, and one command from before its process exists until it has been reaped."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

Samples = dict[str, list[float]]


def interleave(measures: Mapping[str, Callable[[], float]], rounds: int) -> Samples:
    """Calls every measure once a round; the first round warms up and is thrown away."""
    samples: Samples = {name: [] for name in measures}
    names = list(measures)
    for number in range(rounds + 1):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            value = measures[name]()
            if number:
                samples[name].append(value)
    return samples


def milliseconds(argv: Sequence[str], environment: Mapping[str, str]) -> float:
    """Wall-clock time of one command, from before its process exists until it has been reaped."""
    begin = time.perf_counter()
    done = subprocess.run(argv, env=environment, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=False)
    took = (time.perf_counter() - begin) * 1000
    if done.returncode:
        raise RuntimeError(f"{argv} ended with {done.returncode}")
    return took
