"""The machines that exist: one folder each, its machine.json replaced in one step."""

from __future__ import annotations

import os

from guest_agent.wire.errors import Conflict, HostFailed, HostvmError, NotFound
from hostvm.machines.vm.durable import make_private_folder, read_json, remove_file, replace_json, set_aside, sync_folder
from hostvm.machines.vm.names import check_name
from hostvm.machines.vm.paths import MachinePaths, VmPaths
from hostvm.machines.vm.spec import HostFacts, MachineSpec, default_spec, parse_spec
from hostvm.settings import DEFAULT_VM

_GIB = 1 << 30


def list_machines(paths: VmPaths) -> list[str]:
    """Names, sorted."""
    try:
        names = os.listdir(paths.machines)
    except FileNotFoundError:
        return []
    return sorted(name for name in names if os.path.isfile(paths.machine(name).spec))


def create_machine(paths: VmPaths, spec: MachineSpec) -> None:
    """Raises Conflict where there is one of that name."""
    machine = paths.machine(spec.name)
    make_private_folder(machine.folder)
    if os.path.exists(machine.spec):
        raise Conflict(f"there is a machine named {spec.name!r} already")
    write_spec(machine, spec)


def find_or_create(paths: VmPaths, name: str, host: HostFacts) -> MachineSpec:
    """The default machine is made on first use. Raises NotFound for any other that isn't there."""
    machine = paths.machine(check_name(name))
    spec = find_spec(machine, host)
    if spec is None:
        if name != DEFAULT_VM:
            raise NotFound(f"there is no machine named {name!r}", f"make it: hostvm machine create {name}")
        spec = default_spec(name, host)
        create_machine(paths, spec)
    return spec


def find_spec(machine: MachinePaths, host: HostFacts) -> MachineSpec | None:
    """None where there is no such machine. A spec that can't be read is set aside, and the defaults take its place.

    The disk then is as large as its file: what is on it stays.
    """
    try:
        document = read_json(machine.spec)
        return None if document is None else parse_spec(document)
    except OSError as error:
        raise HostFailed(f"can't read {machine.spec}: {error.strerror}") from error
    except (ValueError, HostvmError):
        set_aside(machine.spec)
    spec = default_spec(os.path.basename(machine.folder), host)
    if os.path.exists(machine.disk):
        spec = parse_spec({**spec.to_json(), "disk": max(1, os.stat(machine.disk).st_size // _GIB)})
    write_spec(machine, spec)
    return spec


def write_spec(machine: MachinePaths, spec: MachineSpec) -> None:
    replace_json(machine.spec, spec.to_json())


def remove_machine(paths: VmPaths, name: str) -> None:
    """With everything in it. The caller has made sure that it doesn't run. Raises NotFound."""
    machine = paths.machine(check_name(name))
    if not remove_file(machine.spec):
        raise NotFound(f"there is no machine named {name!r}")
    import shutil

    shutil.rmtree(machine.folder, ignore_errors=True)
    shutil.rmtree(machine.run, ignore_errors=True)


def reset_machine(machine: MachinePaths) -> None:
    """An empty disk and no saved state; the spec stays. The caller has made sure that it doesn't run."""
    for path in (machine.state_record, machine.state, machine.ram, machine.disk):
        remove_file(path)
    sync_folder(machine.folder)
