"""Fixtures of the behaviour tests.

`machine` is the worker's own engine, with images and no container at the start of each test; whatever the test makes is
removed at its end, and an audit shows that nothing stayed. `fresh_machine` makes further ones, for tests that break
them. Both live where `--machine` says: each test that asks for one runs once for each kind of machine.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.behaviour.harness import images
from tests.behaviour.harness.audit import Belongings, check_nothing_left, look_at
from tests.behaviour.harness.exceptions import EXCEPTIONS
from tests.behaviour.harness.machine import HOSTVM, Machine
from tests.behaviour.harness.native import NativeMachine
from tests.behaviour.harness.recording import Recorder
from tests.behaviour.harness.terminal import Terminal
from tests.behaviour.harness.vm import VmMachine
from tests.behaviour.harness.waiting import paced
from tests.behaviour.harness.worker import Worker, enter_worker

MachineMaker = Callable[..., Machine]
Project = Callable[..., str]
PACES = {kind.kind: kind.pace for kind in (NativeMachine, VmMachine)}
FOLDER = Path(__file__).parent


# -- which test runs where


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test that needs a machine, once for each kind that was asked for."""
    if "machine_kind" in metafunc.fixturenames:
        metafunc.parametrize("machine_kind", kinds(metafunc.config), indirect=True)


def kinds(config: pytest.Config) -> list[str]:
    chosen = config.getoption("--machine")
    return list(PACES) if chosen == "all" else [chosen]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what isn't for the chosen machines, and marks the named exceptions."""
    elsewhere = [item for item in items if not is_wanted(item, kinds(config))]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]
    for item in items:
        if reason := find_exception(item):
            item.add_marker(pytest.mark.xfail(reason=reason, run=False))


def is_wanted(item: pytest.Item, chosen: list[str]) -> bool:
    """Tests of the engine's parts on the kernel (keeper, runtime, networks, images) have no machine: they are native.

    They build the part in the test's own process, so there is nothing in them that a VM could change; the guest's own
    kernel is met by every test that has a machine. Tests below vm/ are about what only a VM has.
    """
    if FOLDER not in item.path.parents:
        return True
    kind = kind_of(item)
    only_vm = FOLDER / "vm" in item.path.parents
    return kind == "vm" if only_vm else kind in chosen


def kind_of(item: pytest.Item) -> str:
    return (
        str(item.callspec.params.get("machine_kind", "native"))
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else "native"
    )


def find_exception(item: pytest.Item) -> str | None:
    if not isinstance(item, pytest.Function):
        return None
    exceptions = EXCEPTIONS[kind_of(item)]
    return exceptions.get(f"{item.path.name}::{item.originalname}")


# -- the machines

#: Those that were made, the youngest last: a failed test shows the logs of the one that it used.
MADE: list[Machine] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    used = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Machine)]
    if report.failed and "machine_kind" in getattr(item, "fixturenames", ()) and (used or MADE):
        report.sections.append(("the machine's logs", (used or MADE)[-1].said()))
    return report


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    """Namespaces for this pytest process."""
    if os.geteuid() != 0:
        pytest.skip("the native engine needs root")
    images.build_missing()
    worker = enter_worker()
    yield worker
    worker.close()


@pytest.fixture
def machine_kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of machine that this test runs on; deadlines are that machine's meanwhile."""
    with paced(PACES[request.param]):
        yield request.param


@pytest.fixture(scope="session")
def make_machine(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> MachineMaker:
    """Makes a machine of a kind with the named images loaded; whoever calls it stops it."""
    numbers = itertools.count()
    shared = str(tmp_path_factory.getbasetemp())

    def make(kind: str, *names: str, environment: dict[str, str] | None = None) -> Machine:
        number = next(numbers)
        folder = f"{worker.folder}/m{number}"
        machine: Machine
        if kind == "vm":
            machine = VmMachine(folder, shared, environment)
        else:
            machine = NativeMachine(folder, f"hvt{number}", environment)
        MADE.append(machine)
        for name in names:
            machine("load", "--quiet", "--input", images.archive(name))
        return machine

    return make


class Shared:
    """One engine of each kind for all tests of a worker, and what it has while it has no containers."""

    def __init__(self, make: MachineMaker) -> None:
        self._make = make
        self._machines: dict[str, tuple[Machine, Belongings]] = {}

    def get(self, kind: str) -> tuple[Machine, Belongings]:
        if kind not in self._machines:
            machine = self._make(kind, "busybox", "debian")
            machine("run", "--rm", "busybox", "true")
            self._machines[kind] = machine, look_at(machine)
        return self._machines[kind]

    def close(self) -> None:
        for kind, (machine, _) in self._machines.items():
            with paced(PACES[kind]):
                stop_and_check(machine)


@pytest.fixture(scope="session")
def shared_machines(make_machine: MachineMaker) -> Iterator[Shared]:
    shared = Shared(make_machine)
    yield shared
    shared.close()


@pytest.fixture
def machine(machine_kind: str, shared_machines: Shared) -> Iterator[Machine]:
    """The worker's engine. MUST be left running; containers, networks and volumes may be left, images may not."""
    machine, before = shared_machines.get(machine_kind)
    recorder = Recorder(f"{machine.folder}/recorded.sock", machine.socket)
    machine.docker_socket = recorder.path
    yield machine
    machine.docker_socket = ""
    recorder.close()
    clean(machine)
    check_nothing_left(machine, before)
    assert recorder.deviations() == [], "Docker describes it otherwise"


@pytest.fixture
def fresh_machine(machine_kind: str, make_machine: MachineMaker) -> Iterator[MachineMaker]:
    """Makes machines that a test may kill, damage and reconfigure; stopped and audited at its end."""
    made: list[Machine] = []

    def make(*names: str, environment: dict[str, str] | None = None) -> Machine:
        made.append(make_machine(machine_kind, *names, environment=environment))
        return made[-1]

    yield make
    for machine in made:
        try:
            if machine.running():
                clean(machine)
            stop_and_check(machine)
            shutil.rmtree(machine.folder)  # a machine has disks and memory in it, and there are hundreds
        finally:
            machine.kill()


@pytest.fixture
def terminal_of() -> Callable[[Machine], Callable[..., Terminal]]:
    """`terminal_of(machine)("run", "-it", ...)`: hostvm in a terminal of its own."""

    def bind(machine: Machine) -> Callable[..., Terminal]:
        return lambda *words, **size: Terminal([HOSTVM, *words], machine.environment, **size)

    return bind


@pytest.fixture
def terminal(machine: Machine, terminal_of: Callable[[Machine], Callable[..., Terminal]]) -> Callable[..., Terminal]:
    """`terminal("run", "-it", ...)`, with the worker's engine."""
    return terminal_of(machine)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Makes a folder with a Dockerfile and further files; its path."""
    folder = tmp_path / "project"

    def make(dockerfile: str, files: dict[str, str] | None = None) -> str:
        for name, text in {"Dockerfile": dockerfile, **(files or {})}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return str(folder)

    return make


def clean(machine: Machine) -> None:
    """Removes every container, network, volume and image without a name."""
    if containers := machine.containers():
        machine("rm", "--force", "--volumes", *containers)
    if networks := machine("network", "ls", "--quiet", "--filter", "type=custom").split():
        machine("network", "rm", *networks)
    if volumes := machine("volume", "ls", "--quiet").split():
        machine("volume", "rm", "--force", *volumes)
    machine("image", "prune", "--force")


def stop_and_check(machine: Machine) -> None:
    """Ends a machine, and shows that no process, mount, link or rule of it is left."""
    machine.stop()
    machine.check_stopped()
