"""The machine that the engine runs on. There is one kind so far: this host itself."""

import time

from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_error, write_out
from hostvm.cli.render.view import View
from hostvm.machines import native
from hostvm.machines.connect import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context

MACHINES = View(
    "*formatter.machineContext",
    "Name",
    ("Name", "Driver", "State", "Socket"),
    {
        "Name": ("NAME", lambda row: row.text("Name")),
        "Driver": ("DRIVER", lambda row: row.text("Driver")),
        "State": ("STATE", lambda row: row.text("State")),
        "Socket": ("SOCKET", lambda row: row.text("Socket")),
    },
)


def ls(context: "Context", arguments: Arguments) -> int:
    from hostvm.cli.listing import show

    settings = context.settings
    state = "running" if native.is_running(settings) else "stopped"
    record: dict[str, object] = {"Name": "native", "Driver": "native", "State": state, "Socket": settings.socket}
    return show(MACHINES, [record], arguments)


def start(context: "Context", arguments: Arguments) -> int:
    context.engine.open("GET", "/_ping").read()
    write_out("native\n")
    return 0


def stop(context: "Context", arguments: Arguments) -> int:
    """Asks the engine to end, and waits until it has. An engine that isn't running is no error, and isn't started."""
    settings = context.settings
    check(settings)
    if not native.is_running(settings):
        write_error("the engine isn't running\n")
        return 0
    keep = arguments.flag("keep-containers")
    context.engine.call("POST", "/hostvm/shutdown", {"keep_containers": keep})
    # With containers kept the keeper goes on listening for them, and the next client wakes the engine.
    if not keep and not native.wait_stopped(settings, time.monotonic() + arguments.number("timeout")):
        hint = f"its log, {settings.data}/engine.log, says what it waits for"
        raise Failure("the engine still runs", 1, hint)
    write_out("native\n")
    return 0


def unit(context: "Context", arguments: Arguments) -> int:
    """The unit that the package carries, with this installation's paths in it."""
    write_out(native.systemd_unit(context.settings))
    return 0
