"""The machines that engines run on: which there are, and their start and stop."""

import time

from guest_agent.wire.errors import HostvmError
from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure
from hostvm.cli.machine_choice import choose, existing_machine, settings_of
from hostvm.cli.output import write_error, write_out
from hostvm.cli.render.view import View
from hostvm.machines.connect import check
from hostvm.settings import NATIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context
    from hostvm.settings import Settings

    Record = dict[str, object]

MACHINES = View(
    "*formatter.machineContext",
    "Name",
    ("Name", "Driver", "State", "CPUs", "Memory", "Disk", "Socket"),
    {
        "Name": ("NAME", lambda row: row.text("Name")),
        "Driver": ("DRIVER", lambda row: row.text("Driver")),
        "State": ("STATE", lambda row: row.text("State")),
        "CPUs": ("CPUS", lambda row: row.text("CPUs")),
        "Memory": ("MEMORY", lambda row: row.text("Memory")),
        "Disk": ("DISK", lambda row: row.text("Disk")),
        "Socket": ("SOCKET", lambda row: row.text("Socket")),
        "Current": ("CURRENT", lambda row: row.text("Current")),
    },
)


def ls(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.listing import show
    from hostvm.cli.machine_choice import machine_names

    settings = context.settings
    return show(MACHINES, [_row(settings, name) for name in machine_names(settings)], arguments)


def _row(settings: "Settings", name: str) -> "Record":
    row = _native_row(settings) if name == NATIVE else _vm_row(settings, name)
    return {"Name": name, "Current": "*" if name == settings.machine and not settings.host else "", **row}


def _native_row(settings: "Settings") -> "Record":
    from hostvm.machines import native

    of_native = settings_of(settings, NATIVE)
    state = "running" if native.is_running(of_native) else "stopped"
    return {"Driver": "native", "State": state, "Socket": of_native.socket}


def _vm_row(settings: "Settings", name: str) -> "Record":
    from hostvm.cli.machine_state import find_status, state_of

    row: Record = {"Driver": "vm", "Socket": settings_of(settings, name).socket}
    try:
        machine = existing_machine(settings_of(settings, name), "ls")
        spec = machine.spec
        sizes = {"CPUs": spec.cpus, "Memory": f"{spec.memory}MiB", "Disk": f"{spec.disk}GiB"}
        return {**row, **sizes, "State": state_of(machine.paths, find_status(machine.paths))}
    except HostvmError as error:
        return {**row, "State": error.kind}


def start(context: "Context", arguments: Arguments) -> int:
    name = choose(context.settings, arguments.positional)
    context.engine.open("GET", "/_ping").read()
    write_out(name + "\n")
    return 0


def stop(context: "Context", arguments: Arguments) -> int:
    """One that doesn't run is no error, and isn't started."""
    name = choose(context.settings, arguments.positional)
    stopped = _stop_native(context, arguments) if name == NATIVE else _stop_vm(context, arguments)
    if stopped:
        write_out(name + "\n")
    return 0


def restart(context: "Context", arguments: Arguments) -> int:
    """Not a suspension: who restarts wants what runs there made afresh."""
    name = choose(context.settings, arguments.positional)
    if name == NATIVE:
        _stop_native(context, arguments)
    else:
        _shut_down(context, "shutdown", arguments.number("timeout"))
    return start(context, arguments)


def _stop_vm(context: "Context", arguments: Arguments) -> bool:
    if arguments.flag("keep-containers"):
        raise Failure("a VM machine has no --keep-containers", 125, "without --shutdown containers are suspended")
    mode = "shutdown" if arguments.flag("shutdown") else "save"
    if _shut_down(context, mode, arguments.number("timeout")):
        return True
    write_error("the machine isn't running\n")
    return False


def _shut_down(context: "Context", mode: str, timeout: int) -> bool:
    from hostvm.cli.machine_state import stop_machine

    return stop_machine(existing_machine(context.settings, "stop").paths, mode, timeout)


def _stop_native(context: "Context", arguments: Arguments) -> bool:
    """Asks the engine to end, and waits until it has."""
    from hostvm.machines import native

    settings = context.settings
    _check_native(arguments)
    check(settings)
    if not native.is_running(settings):
        write_error("the engine isn't running\n")
        return False
    keep = "keep-containers" in _flags(arguments) and arguments.flag("keep-containers")
    context.engine.call("POST", "/hostvm/shutdown", {"keep_containers": keep})
    # With containers kept the keeper goes on listening for them, and the next client wakes the engine.
    if not keep and not native.wait_stopped(settings, time.monotonic() + arguments.number("timeout")):
        hint = f"its log, {settings.data}/engine.log, says what it waits for"
        raise Failure("the engine still runs", 1, hint)
    return True


def _check_native(arguments: Arguments) -> None:
    if "shutdown" in _flags(arguments) and arguments.flag("shutdown"):
        raise Failure("only a VM machine can be shut down", 125, "`hostvm machine stop` stops the engine")


def _flags(arguments: Arguments) -> set[str]:
    return {flag.name for flag in arguments.command.flags}


def unit(context: "Context", arguments: Arguments) -> int:
    """The unit that the package carries, with this installation's paths in it."""
    from hostvm.machines import native

    write_out(native.systemd_unit(settings_of(context.settings, NATIVE)))
    return 0
