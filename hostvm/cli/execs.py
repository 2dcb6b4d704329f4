"""`exec`, `attach` and `start -a`: the foreground on what is there already."""

import os

from guest_agent.wire.errors import RUN_EXIT_CODE, HostvmError
from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure, refused
from hostvm.cli.foreground import Foreground, Listener, run_detachable
from hostvm.cli.query import escape
from hostvm.cli.request.environment import BadFile, environment
from hostvm.cli.run import check_terminal, terminal_size
from hostvm.client.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context


def execute(context: "Context", arguments: Arguments) -> int:
    interactive = arguments.flag("interactive")
    detach = arguments.flag("detach")
    check_terminal(arguments, interactive)
    body = {
        "Container": arguments.positional[0],
        "Exec": plan_exec(arguments),
        "Detach": detach,
        "ConsoleSize": terminal_size(arguments),
    }
    try:
        session = Session(*context.engine.upgrade("/hostvm/exec", body))
        foreground = Foreground(session, interactive and not detach, arguments.flag("tty"), False, Listener())
        return run_detachable(foreground, detach)
    except HostvmError as error:
        code = RUN_EXIT_CODE.get(error.kind, 1)
        if error.message.startswith("OCI runtime exec failed"):  # which docker's client gets as the exec's output
            raise Failure(error.message, code, error.hint) from error
        raise refused(error, code) from error


def plan_exec(arguments: Arguments) -> dict[str, object]:
    """The body of `POST /containers/NAME/exec`. Raises Failure."""
    detach = arguments.flag("detach")
    try:
        variables = environment(arguments.texts("env"), arguments.texts("env-file"), os.environ.get)
    except BadFile as error:
        raise Failure(str(error), 1) from error
    return {
        "User": arguments.text("user"),
        "Privileged": arguments.flag("privileged"),
        "Tty": arguments.flag("tty"),
        "AttachStdin": arguments.flag("interactive") and not detach,
        "AttachStdout": not detach,
        "AttachStderr": not detach,
        "Detach": detach,
        "DetachKeys": arguments.text("detach-keys"),
        "Env": variables or None,
        "WorkingDir": arguments.text("workdir"),
        "Cmd": arguments.positional[1:],
    }


def attach(context: "Context", arguments: Arguments) -> int:
    name = arguments.positional[0]
    config, state = _look(context, name)
    if state.get("Paused"):
        raise Failure("cannot attach to a paused container, unpause it first", 1, f"hostvm unpause {name}")
    if not state.get("Running"):
        raise Failure("cannot attach to a stopped container, start it first", 1, f"hostvm start -ai {name}")
    interactive = bool(config.get("OpenStdin")) and not arguments.flag("no-stdin")
    return _attached(context, arguments, interactive, bool(config.get("Tty")), arguments.flag("sig-proxy"), False)


def start_attached(context: "Context", arguments: Arguments) -> int:
    """`start -a`, `start -i`: attach, then start."""
    if len(arguments.positional) > 1:
        raise Failure("you cannot start and attach multiple containers at once", 1)
    config, _ = _look(context, arguments.positional[0])
    interactive = arguments.flag("interactive") and bool(config.get("OpenStdin"))
    tty = bool(config.get("Tty"))
    return _attached(context, arguments, interactive, tty, not tty, True)


def _look(context: "Context", name: str) -> tuple[dict[str, object], dict[str, object]]:
    """The container's Config and State."""
    record = context.engine.find(f"/containers/{escape(name)}/json")
    config, state = record.get("Config"), record.get("State")
    return (config if isinstance(config, dict) else {}), (state if isinstance(state, dict) else {})


def _attached(
    context: "Context", arguments: Arguments, interactive: bool, tty: bool, proxy: bool, start: bool
) -> int:  # fmt: skip
    if tty and interactive and not os.isatty(0):
        raise Failure("the input device is not a TTY", 1)
    body = {
        "Container": arguments.positional[0],
        "Start": start,
        "AttachStdin": interactive,
        "AttachStdout": True,
        "AttachStderr": True,
        "DetachKeys": arguments.text("detach-keys"),
        "ConsoleSize": _size(tty),
        "Logs": False,
    }
    try:
        session = Session(*context.engine.upgrade("/hostvm/attach", body))
        return Foreground(session, interactive, tty, proxy, Listener()).run()
    except HostvmError as error:
        raise refused(error, RUN_EXIT_CODE.get(error.kind, 1)) from error


def _size(tty: bool) -> list[int]:
    if not tty:
        return [0, 0]
    from hostvm.cli.terminal import console_size

    return list(console_size())
