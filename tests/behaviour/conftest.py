"""Fixtures of the behaviour tests.

`machine` is the worker's own engine, with images and no container at the start of each test; whatever the test makes is
removed at its end, and an audit shows that nothing stayed. `fresh_machine` makes further ones, for tests that break
them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from tests.behaviour.harness import images
from tests.behaviour.harness.audit import Belongings, check_nothing_left, find_processes, look_at
from tests.behaviour.harness.machine import HOSTVM, NativeMachine
from tests.behaviour.harness.terminal import Terminal
from tests.behaviour.harness.waiting import wait_for
from tests.behaviour.harness.worker import Worker, enter_worker

MachineMaker = Callable[..., NativeMachine]


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    """Namespaces for this pytest process."""
    if os.geteuid() != 0:
        pytest.skip("the native engine needs root")
    images.build_missing()
    worker = enter_worker()
    yield worker
    worker.close()


@pytest.fixture(scope="session")
def make_machine(worker: Worker) -> MachineMaker:
    """Makes a machine with the named images loaded; whoever calls it stops it."""
    numbers = itertools.count()

    def make(*names: str, environment: dict[str, str] | None = None) -> NativeMachine:
        number = next(numbers)
        machine = NativeMachine(f"{worker.folder}/m{number}", f"hvt{number}", environment)
        for name in names:
            machine("load", "--quiet", "--input", images.archive(name))
        return machine

    return make


@pytest.fixture(scope="session")
def shared_machine(make_machine: MachineMaker) -> Iterator[tuple[NativeMachine, Belongings]]:
    """One engine for all tests of a worker, and what it has while it has no containers."""
    machine = make_machine("busybox", "debian")
    machine("run", "--rm", "busybox", "true")
    yield machine, look_at(machine)
    stop_and_check(machine)


@pytest.fixture
def machine(shared_machine: tuple[NativeMachine, Belongings]) -> Iterator[NativeMachine]:
    """The worker's engine. MUST be left running; containers and volumes may be left, images may not."""
    machine, before = shared_machine
    yield machine
    clean(machine)
    check_nothing_left(machine, before)


@pytest.fixture
def fresh_machine(make_machine: MachineMaker) -> Iterator[MachineMaker]:
    """Makes machines that a test may kill, damage and reconfigure; stopped and audited at its end."""
    made: list[NativeMachine] = []

    def make(*names: str, environment: dict[str, str] | None = None) -> NativeMachine:
        made.append(make_machine(*names, environment=environment))
        return made[-1]

    yield make
    for machine in made:
        try:
            if machine.running():
                clean(machine)
            stop_and_check(machine)
        finally:
            machine.kill()


@pytest.fixture
def terminal(machine: NativeMachine) -> Callable[..., Terminal]:
    """`terminal("run", "-it", ...)`: hostvm in a terminal of its own."""

    def open_terminal(*words: str, rows: int = 24, columns: int = 80) -> Terminal:
        return Terminal([HOSTVM, *words], machine.environment, rows, columns)

    return open_terminal


def clean(machine: NativeMachine) -> None:
    """Removes every container and volume."""
    if containers := machine.containers():
        machine("rm", "--force", "--volumes", *containers)
    if volumes := machine("volume", "ls", "--quiet").split():
        machine("volume", "rm", "--force", *volumes)


def stop_and_check(machine: NativeMachine) -> None:
    """Ends an engine, and shows that no process, mount, link or rule of it is left."""
    machine.stop()
    left = look_at(machine)
    assert not left.mounts, left.mounts
    assert machine.bridge not in left.links
    wait_for(lambda: not processes_of(machine), f"the end of {processes_of(machine)}")


def processes_of(machine: NativeMachine) -> list[str]:
    """Processes of this worker that name the machine's folder."""
    return [process for process in find_processes(machine) if machine.folder + "/" in process or process == "keeper"]
