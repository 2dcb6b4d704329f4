"""A hundred clients at once, for a moment: nothing of them stays. `scripts/bench load` is the long one."""

from __future__ import annotations

import asyncio

from tests.behaviour.conftest import MachineMaker
from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import wait_for
from tests.load.crowd import crowd, prepare

CLIENTS, SECONDS = 100, 5.0
#: An allocator keeps some of what it once had: what counts is that the second crowd needs no more than the first.
ROOM = 6 << 20


def resident(machine: Machine, pid: int) -> int:
    lines = dict(line.split(":", 1) for line in machine.read_inside(f"/proc/{pid}/status").splitlines())
    return int(lines["VmRSS"].split()[0]) * 1024


def descriptors(machine: Machine, pid: int) -> int:
    return len(machine.names_inside(f"/proc/{pid}/fd"))


def test_memory_and_descriptors_are_flat(fresh_machine: MachineMaker) -> None:
    machine = fresh_machine("busybox")
    machine("run", "--rm", "busybox", "true")
    asyncio.run(prepare(machine.socket))
    engine = machine.engine_pid()
    before = descriptors(machine, engine)
    asyncio.run(crowd(machine.socket, CLIENTS, SECONDS))
    wait_for(lambda: descriptors(machine, engine) <= before, "the first crowd's descriptors to be closed")
    size = resident(machine, engine)
    done = asyncio.run(crowd(machine.socket, CLIENTS, SECONDS))
    assert len(done) == 5, f"not every job was done: {done}"
    wait_for(lambda: descriptors(machine, engine) <= before, "the second crowd's descriptors to be closed")
    assert resident(machine, engine) < size + ROOM
    assert machine.engine_pid() == engine
