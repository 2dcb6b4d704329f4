"""What a VM machine is made of: `machine create`, `set`, `inspect`; and what takes it away: `rm`, `reset`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from guest_agent.wire.errors import Conflict, HostvmError, InvalidArgument, NotFound
from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure, with_hint
from hostvm.cli.inspect import render_records
from hostvm.cli.machine_choice import VmMachine, choose, existing_machine, settings_of, vm_machine, vm_paths
from hostvm.cli.machine_state import end_machine, find_status, state_of
from hostvm.cli.output import write_error, write_out
from hostvm.forward.rules import parse_rules
from hostvm.machines.vm.control import ask
from hostvm.machines.vm.host import host_facts
from hostvm.machines.vm.names import check_name
from hostvm.machines.vm.spec import change_spec, default_spec, parse_spec
from hostvm.machines.vm.store import create_machine, remove_machine, reset_machine, write_spec
from hostvm.settings import NATIVE, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context

    Record = dict[str, object]

_DEADLINE = 60.0


def create(context: Context, arguments: Arguments) -> int:
    name = check_name(arguments.positional[0])
    changes = plan_resources(arguments)
    if arguments.given("share"):
        changes["shares"] = check_folders(arguments.texts("share"))
    if arguments.given("arch"):
        changes["arch"] = arguments.text("arch")
    spec = parse_spec({**default_spec(name, host_facts()).to_json(), **changes})
    create_machine(vm_paths(context.settings), spec)
    write_out(name + "\n")
    return 0


def change(context: Context, arguments: Arguments) -> int:
    choose(context.settings, arguments.positional)
    machine = vm_machine(context.settings, "set")
    changes = plan_changes(machine, arguments)
    if not changes:
        raise Failure("nothing to change was named", 125, "`hostvm machine set --help` shows what can be")
    write_spec(machine.paths, change_spec(machine.spec, changes))
    _tell(machine)
    write_out(machine.name + "\n")
    return 0


def plan_resources(arguments: Arguments) -> dict[str, object]:
    """The given ones of the flags that `create` and `set` have in common, by the names that machine.json has."""
    keys = {"cpus": "cpus", "memory": "memory", "disk": "disk", "idle": "idle_seconds"}
    return {key: arguments.value(flag) for flag, key in keys.items() if arguments.given(flag)}


def plan_changes(machine: VmMachine, arguments: Arguments) -> dict[str, object]:
    """What `set` replaces. Raises InvalidArgument."""
    changes = plan_resources(arguments)
    if arguments.given("share") or arguments.given("unshare"):
        changes["shares"] = plan_shares(machine.shares, arguments.texts("share"), arguments.texts("unshare"))
    if arguments.given("port-rule"):
        changes["ports"] = plan_rules(machine.spec.ports, arguments.texts("port-rule"), machine.name)
    return changes


def plan_shares(shares: Sequence[str], more: Sequence[str], fewer: Sequence[str]) -> list[str]:
    """The list after the change. Raises InvalidArgument."""
    for path in fewer:
        if path not in shares:
            raise InvalidArgument(f"{path} isn't shared", f"shared are: {', '.join(shares) or 'no folders'}")
    kept = [path for path in shares if path not in fewer]
    return kept + [path for path in check_folders(more) if path not in kept]


def check_folders(paths: Sequence[str]) -> list[str]:
    """Raises InvalidArgument for what is no folder of this host."""
    for path in paths:
        if not os.path.isdir(path):
            raise InvalidArgument(f"{path} is no folder of this host", "--share takes folders that are there already")
    return list(dict.fromkeys(paths))


def plan_rules(rules: Mapping[str, object], texts: Sequence[str], name: str) -> dict[str, object]:
    """The port rules after the change; an empty value takes one away. Raises InvalidArgument."""
    changed = {**rules, **dict(parse_rule(text) for text in texts)}
    changed = {key: value for key, value in changed.items() if value != ""}
    parse_rules(changed, name)
    return changed


def parse_rule(text: str) -> tuple[str, str]:
    """`KEY=VALUE`."""
    key, found, value = text.partition("=")
    if not found or not key:
        raise InvalidArgument(f"no port rule: {text!r}", "write --port-rule KEY=VALUE, such as deny=22,8000-8100")
    return key, value.strip()


def _tell(machine: VmMachine) -> None:
    """A running machine hears of what can be changed at once; of the rest its user hears."""
    if find_status(machine.paths) is None:
        return
    if ask(machine.paths.control_socket, {"op": "reload"}, _DEADLINE).get("restart"):
        write_error(f"this counts from the machine's next start on: hostvm machine restart {machine.name}\n")


def inspect(context: Context, arguments: Arguments) -> int:
    """Prints what is found, then complains about what isn't."""
    records, complaints = [], []
    for name in arguments.positional or [context.settings.machine]:
        try:
            records.append(describe(settings_of(context.settings, name)))
        except NotFound as error:
            complaints.append(with_hint(f"hostvm: {error.message}", error.hint))
    write_out(render_records(records, arguments.text("format")))
    for complaint in complaints:
        write_error(complaint + "\n")
    return 1 if complaints else 0


def describe(settings: Settings) -> Record:
    """A machine's record, as `inspect` shows it."""
    if settings.machine == NATIVE:
        return _describe_native(settings)
    machine = existing_machine(settings, "inspect")
    status = find_status(machine.paths)
    spec = machine.spec
    return {
        "Name": machine.name, "Driver": "vm", "State": state_of(machine.paths, status), "Arch": spec.arch,
        "CPUs": spec.cpus, "Memory": spec.memory << 20, "Disk": spec.disk << 30, "Shares": list(machine.shares),
        "Ports": dict(spec.ports), "IdleSeconds": spec.idle_seconds, "Socket": machine.paths.engine_socket,
        "Folder": machine.paths.folder, "Run": machine.paths.run, "Status": status,
    }  # fmt: skip


def _describe_native(settings: Settings) -> Record:
    from hostvm.machines.native import is_running

    host = host_facts()
    return {
        "Name": NATIVE, "Driver": "native", "State": "running" if is_running(settings) else "stopped",
        "Arch": host.arch, "CPUs": host.cpus, "Memory": host.memory << 20, "Socket": settings.socket,
        "Folder": settings.data, "Run": settings.run,
    }  # fmt: skip


def rm(context: Context, arguments: Arguments) -> int:
    """Every machine that can go goes; each refusal is a line on stderr, and makes the exit code 1."""
    failed = False
    for name in arguments.positional:
        try:
            _remove(settings_of(context.settings, name), arguments.flag("force"))
            write_out(name + "\n")
        except HostvmError as error:
            write_error(with_hint(f"hostvm: {error.message}", error.hint) + "\n")
            failed = True
    return 1 if failed else 0


def _remove(settings: Settings, force: bool) -> None:
    machine = existing_machine(settings, "rm")
    if not force:
        _check_stopped(machine)
        confirm(f"Remove the machine {machine.name!r} with its containers, images and volumes?")
    end_machine(machine.paths)
    remove_machine(vm_paths(settings), machine.name)


def _check_stopped(machine: VmMachine) -> None:
    if find_status(machine.paths) is not None:
        raise Conflict(f"the machine {machine.name!r} is running", "stop it first, or remove it with -f")


def reset(context: Context, arguments: Arguments) -> int:
    choose(context.settings, arguments.positional)
    machine = existing_machine(context.settings, "reset")
    if not arguments.flag("force"):
        confirm(f"Remove all containers, images and volumes of the machine {machine.name!r}?")
    end_machine(machine.paths)
    reset_machine(machine.paths)
    write_out(machine.name + "\n")
    return 0


def confirm(question: str) -> None:
    """Returns when the user says yes. Raises Failure: for a no, and where nobody can be asked."""
    if not os.isatty(0):
        raise Failure("this removes data, and nobody can be asked: there is no terminal", 1, "say -f if you mean it")
    write_error(f"{question} [y/N] ")
    answer = os.read(0, 1 << 10).decode(errors="replace").strip().lower()
    if answer not in ("y", "yes"):
        raise Failure("nothing was removed", 1)
