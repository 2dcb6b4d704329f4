"""`python -m tests.load [--clients N] [--seconds S]`: the figures of a native engine under a crowd, as they come."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
import time

from tests.behaviour.harness import images
from tests.behaviour.harness.native import NativeMachine
from tests.bench.conditions import enter_conditions
from tests.load.crowd import crowd, prepare

_EACH = 15.0


def figures(pid: int) -> str:
    """Resident memory in MiB, and open descriptors."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    resident = int(lines["VmRSS"].split()[0]) / 1024
    return f"{resident:6.1f} MiB  {len(os.listdir(f'/proc/{pid}/fd')):4} descriptors"


async def observe(socket: str, pid: int, clients: int, seconds: float) -> None:
    await prepare(socket)
    print(f"     0 s  {figures(pid)}", flush=True)
    begun = time.monotonic()
    task = asyncio.create_task(crowd(socket, clients, seconds))
    while not task.done():
        await asyncio.wait((task,), timeout=_EACH)
        print(f"{time.monotonic() - begun:6.0f} s  {figures(pid)}", flush=True)
    await asyncio.sleep(1)
    print(f" after it  {figures(pid)}")
    print(dict(task.result()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench load", description=__doc__)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=300)
    arguments = parser.parse_args()
    images.build_missing()
    enter_conditions()
    scratch = tempfile.mkdtemp(prefix="hostvm-load-")
    machine = NativeMachine(f"{scratch}/m", "hvload0")
    try:
        machine("load", "--quiet", "--input", images.archive("busybox"))
        asyncio.run(observe(machine.socket, machine.engine_pid(), arguments.clients, arguments.seconds))
    finally:
        _remove(machine, scratch)


def _remove(machine: NativeMachine, scratch: str) -> None:
    """The engine ends even when its containers can't be removed any more."""
    try:
        machine("rm", "--force", *machine.containers())
    finally:
        machine.stop()
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
