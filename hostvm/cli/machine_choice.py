"""Which machine a command is about: the operand, else -m, else HOSTVM_MACHINE, else this platform's default."""

import copy

from guest_agent.wire.errors import NotFound, Unsupported
from hostvm.settings import DEFAULT_VM, NATIVE, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.machines.vm.paths import MachinePaths, VmPaths
    from hostvm.machines.vm.spec import MachineSpec


class VmMachine:
    """A VM machine that exists."""

    __slots__ = ("name", "paths", "spec")

    def __init__(self, name: str, paths: "MachinePaths", spec: "MachineSpec") -> None:
        self.name = name
        self.paths = paths
        self.spec = spec

    @property
    def shares(self) -> tuple[str, ...]:
        """The folders that its containers may use: the user's list, or the home folder."""
        from posixpath import expanduser

        return (expanduser("~"),) if self.spec.shares is None else self.spec.shares


def choose(settings: Settings, names: list[str]) -> str:
    """Makes the operand, if one is given, the machine of these settings; gives its name."""
    for name in names[:1]:
        settings.machine = name
        settings.host = ""  # an engine that somebody else runs is none of our machines
    return settings.machine


def settings_of(settings: Settings, name: str) -> Settings:
    """The same settings for another machine; the folders' defaults follow from it."""
    others = copy.copy(settings)
    choose(others, [name])
    return others


def vm_paths(settings: Settings) -> "VmPaths":
    """Where VM machines are, whichever machine is chosen."""
    from hostvm.machines.vm.paths import VmPaths

    of_vm = settings_of(settings, DEFAULT_VM)
    return VmPaths(of_vm.data, of_vm.run, of_vm.cache)


def machine_names(settings: Settings) -> list[str]:
    """Every machine there is, this host first where it can be one."""
    import sys

    from hostvm.machines.vm.store import list_machines

    return ([NATIVE] if sys.platform == "linux" else []) + list_machines(vm_paths(settings))


def have_machine(settings: Settings, name: str) -> bool:
    """Whether a machine has that name; the default one counts before it is made."""
    return name in (NATIVE, DEFAULT_VM) or name in machine_names(settings)


def vm_machine(settings: Settings, verb: str) -> VmMachine:
    """The chosen machine, the default one made on first use. Raises NotFound; Unsupported where it is this host."""
    from hostvm.machines.vm.host import host_facts
    from hostvm.machines.vm.store import find_or_create

    name = check_vm(settings, verb)
    paths = vm_paths(settings)
    spec = find_or_create(paths, name, host_facts())
    return VmMachine(name, paths.machine(name), spec)


def planned_machine(settings: Settings) -> VmMachine:
    """The chosen VM machine as it is, or as it would be made; nothing is made. Raises NotFound."""
    from hostvm.machines.vm.host import host_facts
    from hostvm.machines.vm.spec import default_spec

    try:
        return existing_machine(settings, "doctor")
    except NotFound:
        if settings.machine != DEFAULT_VM:
            raise
    spec = default_spec(DEFAULT_VM, host_facts())
    return VmMachine(DEFAULT_VM, vm_paths(settings).machine(DEFAULT_VM), spec)


def check_vm(settings: Settings, verb: str) -> str:
    """The chosen machine's name. Raises Unsupported where it is this host."""
    if settings.machine == NATIVE:
        raise Unsupported(
            f"the machine 'native' is this host itself: `machine {verb}` is for VM machines",
            f"name one: hostvm machine {verb} {DEFAULT_VM} (there are: hostvm machine ls)",
        )
    return settings.machine


def existing_machine(settings: Settings, verb: str) -> VmMachine:
    """The chosen machine; nothing is made. Raises NotFound, Unsupported."""
    from hostvm.machines.vm.host import host_facts
    from hostvm.machines.vm.names import check_name
    from hostvm.machines.vm.store import find_spec

    name = check_vm(settings, verb)
    machine = vm_paths(settings).machine(check_name(name))
    spec = find_spec(machine, host_facts())
    if spec is None:
        raise NotFound(f"there is no machine named {name!r}", f"make it: hostvm machine create {name}")
    return VmMachine(name, machine, spec)
