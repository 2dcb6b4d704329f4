"""`run` and `ps` beside 1,000 containers that have ended and 200 that run, and on an engine of its own without any."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from tests.bench.calls import Client
from tests.bench.contenders import IMAGE, Contender, Hostvm
from tests.bench.figures import Promise, Result
from tests.bench.timing import interleave, milliseconds

STOPPED, RUNNING = 1000, 200
COMMANDS = {"run": ("run", "--rm", IMAGE, "true"), "ps": ("ps",)}


def measure_crowd(contenders: Sequence[Contender], rounds: int) -> Result:
    """Ours alone; the promise compares it with itself."""
    alone = next(one for one in contenders if isinstance(one, Hostvm))
    with _crowded() as crowded:
        measures = {
            f"{command}, {title}": partial(milliseconds, engine.command(*words), engine.environment)
            for command, words in COMMANDS.items()
            for title, engine in (("none", alone), ("crowd", crowded))
        }
        samples = interleave(measures, rounds)
    result = Result("crowd", f"beside {STOPPED:,} stopped and {RUNNING} running", "ms", samples, ())
    promises = [
        Promise(
            f"{command}, crowd against none",
            result.median(f"{command}, crowd") / result.median(f"{command}, none"),
            at_most=1.2,
        )
        for command in COMMANDS
    ]
    return Result(result.name, result.title, result.unit, samples, promises)


@contextmanager
def _crowded() -> Iterator[Hostvm]:
    with tempfile.TemporaryDirectory(prefix="hostvm-bench-") as scratch:
        engine = Hostvm(scratch, '[engine]\nbridge = "benchcrowd"\n')
        try:
            engine.start("")
            _fill(Client(engine.address))
            yield engine
        finally:
            engine.stop()
            os.sync()


def _fill(client: Client) -> None:
    for _ in range(STOPPED):
        ended = _start(client, "true")
        client.call("POST", f"/containers/{ended}/wait")
    for _ in range(RUNNING):
        _start(client, "sleep", "3600")


def _start(client: Client, *command: str) -> str:
    made = client.call("POST", "/containers/create", {"Image": IMAGE, "Cmd": command})
    client.call("POST", f"/containers/{made['Id']}/start")
    return str(made["Id"])
