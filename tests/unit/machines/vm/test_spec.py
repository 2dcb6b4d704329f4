"""machine.json: round trip, defaults, and what is refused."""

from __future__ import annotations

import pytest

from guest_agent.wire.errors import Conflict, InvalidArgument, NotFound
from hostvm.machines.vm.names import check_name
from hostvm.machines.vm.paths import VmPaths
from hostvm.machines.vm.spec import HostFacts, MachineSpec, change_spec, default_spec, parse_spec
from hostvm.machines.vm.store import (
    create_machine,
    find_or_create,
    find_spec,
    list_machines,
    remove_machine,
    reset_machine,
    write_spec,
)

HOST = HostFacts(cpus=8, memory=16384, arch="x86_64")
SPEC = default_spec("work", HOST)


@pytest.fixture
def paths(tmp_path: object) -> VmPaths:
    return VmPaths(f"{tmp_path}/data", f"{tmp_path}/run", f"{tmp_path}/cache")


def test_round_trip() -> None:
    spec = MachineSpec("a", 2, 1024, 20, ("/home/u", "/srv"), {"deny": ["22"]}, 600.0, "aarch64")
    assert parse_spec(spec.to_json()) == spec
    assert parse_spec(SPEC.to_json()) == SPEC


@pytest.mark.parametrize(
    ("cpus", "memory", "expected"), [(8, 16384, (4, 4096)), (2, 4096, (2, 2048)), (1, 512, (1, 512))]
)
def test_defaults_follow_the_host(cpus: int, memory: int, expected: tuple[int, int]) -> None:
    spec = default_spec("vm", HostFacts(cpus, memory, "aarch64"))
    assert (spec.cpus, spec.memory) == expected
    assert spec.arch == "aarch64"


@pytest.mark.parametrize("name", ["", "native", "rootless", "-a", "a/b", "..", "a" * 33, "a b", "ä"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument):
        check_name(name)


@pytest.mark.parametrize(
    "change",
    [
        {"cpus": 0}, {"cpus": "2"}, {"cpus": True}, {"cpus": 256}, {"memory": 128}, {"memory": 1.5}, {"disk": 0},
        {"disk": 32}, {"shares": "/home"}, {"shares": ["home"]}, {"shares": [1]}, {"ports": []},
        {"idle_seconds": -1}, {"idle_seconds": "1"}, {"idle_seconds": float("nan")}, {"arch": "riscv64"},
        {"arch": "aarch64"}, {"name": "other"}, {"version": 2}, {"memroy": 1024},
    ],
)  # fmt: skip
def test_changes_that_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        change_spec(SPEC, change)


def test_changes() -> None:
    changed = change_spec(SPEC, {"cpus": 2, "disk": 100, "shares": ["/srv"], "idle_seconds": 60})
    assert (changed.cpus, changed.disk, changed.shares, changed.idle_seconds) == (2, 100, ("/srv",), 60)


def test_the_default_machine_is_made_on_first_use(paths: VmPaths) -> None:
    assert list_machines(paths) == []
    spec = find_or_create(paths, "vm", HOST)
    assert spec == default_spec("vm", HOST)
    assert list_machines(paths) == ["vm"]
    with pytest.raises(NotFound, match="'other'"):
        find_or_create(paths, "other", HOST)


def test_a_machine_is_created_once(paths: VmPaths) -> None:
    create_machine(paths, SPEC)
    with pytest.raises(Conflict):
        create_machine(paths, SPEC)
    assert find_spec(paths.machine("work"), HOST) == SPEC


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"name": "work"}'])
def test_a_spec_that_cant_be_read_is_set_aside(paths: VmPaths, content: bytes) -> None:
    machine = paths.machine("work")
    create_machine(paths, SPEC)
    with open(machine.spec, "wb") as file:
        file.write(content)
    with open(machine.disk, "wb") as disk:
        disk.truncate(100 << 30)
    spec = find_spec(machine, HOST)
    assert spec is not None
    assert (spec.name, spec.disk) == ("work", 100)
    assert find_spec(machine, HOST) == spec
    import os

    (aside,) = [name for name in os.listdir(machine.folder) if "unreadable" in name]
    with open(f"{machine.folder}/{aside}", "rb") as file:
        assert file.read() == content


def test_reset_and_removal(paths: VmPaths) -> None:
    import os

    machine = paths.machine("work")
    create_machine(paths, SPEC)
    for path in (machine.disk, machine.ram, machine.state, machine.state_record):
        with open(path, "wb") as file:
            file.write(b"x")
    reset_machine(machine)
    assert os.listdir(machine.folder) == ["machine.json"]
    write_spec(machine, SPEC)
    remove_machine(paths, "work")
    assert not os.path.exists(machine.folder)
    with pytest.raises(NotFound):
        remove_machine(paths, "work")
