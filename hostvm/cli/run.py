"""`run` and `create`."""

import os

from guest_agent.wire.errors import HostvmError
from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure, bad_run, refused_run
from hostvm.cli.foreground import ConnectionLost, Foreground, Listener, passed_on, run_detachable
from hostvm.cli.output import write_error, write_out
from hostvm.cli.query import with_query
from hostvm.cli.request.create import attached_streams, plan_create
from hostvm.cli.request.reference import with_tag
from hostvm.client.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context
    from hostvm.cli.progress import Progress


def absolute(path: str) -> str:
    """A bind's source as docker makes it absolute: `~` is the home folder."""
    return os.path.abspath(os.path.expanduser(path))


def run(context: "Context", arguments: Arguments) -> int:
    path = arguments.command.path
    streams = attached_streams(arguments)
    _check_detach(arguments)
    check_terminal(arguments, "stdin" in streams and arguments.flag("interactive"))
    body = _plan(arguments)
    cidfile = _CidFile(arguments.text("cidfile"), lambda text: bad_run(path, text))
    detach = arguments.flag("detach")
    listener = _RunListener(arguments, cidfile, detach)
    try:
        session = Session(*context.engine.upgrade("/hostvm/run", _exchange(context, arguments, body, streams)))
        interactive = "stdin" in streams and arguments.flag("interactive")
        foreground = Foreground(session, interactive, arguments.flag("tty"), arguments.flag("sig-proxy"), listener)
        try:
            code = run_detachable(foreground, detach)
        except ConnectionLost:
            if interactive or not foreground.identifier:
                raise
            code = _resume(context, foreground, streams, arguments.flag("sig-proxy"))
    except HostvmError as error:
        raise refused_run(path, error) from error
    finally:
        listener.close()
        cidfile.close()
    return code


def _resume(context: "Context", foreground: Foreground, streams: list[str], proxy: bool) -> int:
    """The engine was killed; its successor knows the rest. An interactive session can't be picked up this way."""
    from hostvm.cli.resume import resume, send_signals

    if proxy:
        send_signals(context.engine, foreground.identifier, passed_on())
    try:
        return resume(context.engine, foreground.identifier, foreground.received, streams)
    except (HostvmError, Failure) as error:
        raise ConnectionLost from error


def create(context: "Context", arguments: Arguments) -> int:
    path = arguments.command.path
    body = _plan(arguments)
    cidfile = _CidFile(arguments.text("cidfile"), lambda text: Failure(text, 1))
    query = with_query("/containers/create", name=arguments.text("name"), platform=arguments.text("platform"))
    try:
        if arguments.text("pull") == "always":
            _pull(context, arguments)
        try:
            answer = context.engine.call("POST", query, body)
        except HostvmError as error:
            if error.kind != "not-found" or arguments.text("pull") == "never" or "image" not in error.message.lower():
                raise
            write_error(f"Unable to find image '{with_tag(arguments.positional[0])}' locally\n")
            _pull(context, arguments)
            answer = context.engine.call("POST", query, body)
        fields = answer if isinstance(answer, dict) else {}
        _warn(fields.get("Warnings"))
        cidfile.write(str(fields.get("Id")))
        write_out(f"{fields.get('Id')}\n")
    except HostvmError as error:
        raise refused_run(path, error) from error
    finally:
        cidfile.close()
    return 0


def _pull(context: "Context", arguments: Arguments) -> None:
    from hostvm.cli.pulling import pull

    pull(context, arguments.positional[0], arguments.text("platform"), arguments.flag("quiet"), on_stderr=True)


def _plan(arguments: Arguments) -> dict[str, object]:
    try:
        return plan_create(arguments, os.environ.get, absolute)
    except ValueError as error:
        raise bad_run(arguments.command.path, str(error)) from error


def _exchange(
    context: "Context", arguments: Arguments, body: dict[str, object], streams: list[str]
) -> dict[str, object]:
    from hostvm.cli.credentials import registry_auth

    return {
        "Name": arguments.text("name"),
        "Pull": arguments.text("pull") or "missing",
        "Platform": arguments.text("platform"),
        "Config": body,
        "AttachStdin": "stdin" in streams and arguments.flag("interactive"),
        "AttachStdout": "stdout" in streams,
        "AttachStderr": "stderr" in streams,
        "Detach": arguments.flag("detach"),
        "DetachKeys": arguments.text("detach-keys"),
        "ConsoleSize": terminal_size(arguments),
        # What is here may be of another platform.
        "RegistryAuth": registry_auth(context, arguments.positional[0], pulling=arguments.given("platform")),
    }


def _check_detach(arguments: Arguments) -> None:
    if arguments.flag("detach") and arguments.many("attach"):
        raise Failure("conflicting options: cannot specify both --attach and --detach", 1)


def check_terminal(arguments: Arguments, with_input: bool) -> None:
    """`-it` needs a terminal to put into raw mode."""
    if arguments.flag("tty") and with_input and not arguments.flag("detach") and not os.isatty(0):
        raise Failure("the input device is not a TTY", 1, "leave -t out where the input is a file or a pipe")


def terminal_size(arguments: Arguments) -> list[int]:
    """[rows, columns] of the user's terminal for -t; [0, 0] otherwise."""
    if not arguments.flag("tty"):
        return [0, 0]
    from hostvm.cli.terminal import console_size

    return list(console_size())


def _warn(warnings: object) -> None:
    for warning in warnings if isinstance(warnings, list) else []:
        write_error(f"WARNING: {warning}\n")


class _RunListener(Listener):
    """Tells about the pull, keeps the id, and prints it for -d."""

    def __init__(self, arguments: Arguments, cidfile: "_CidFile", detach: bool) -> None:
        self._quiet = arguments.flag("quiet")
        self._cidfile = cidfile
        self._detach = detach
        self._progress: Progress | None = None

    def progress(self, record: dict[str, object]) -> None:
        if self._progress is None:
            from hostvm.cli.progress import open_progress

            self._progress = open_progress(self._quiet, on_stderr=True)
        self._progress.take(record)

    def created(self, identifier: str, warnings: list[str]) -> None:
        self.close()
        _warn(warnings)
        self._cidfile.write(identifier)

    def started(self, identifier: str) -> None:
        if self._detach:
            write_out(identifier + "\n")

    def close(self) -> None:
        """Ends the progress bars, so that nothing else is drawn over them."""
        if self._progress is not None:
            self._progress.close()


class _CidFile:
    """--cidfile: it must not exist before, and doesn't afterwards where no container was made."""

    def __init__(self, path: str, fail: object) -> None:
        self._path = path
        self._descriptor = -1
        self._written = False
        if not path:
            return
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            text = f"container ID file found, make sure the other container isn't running or delete {path}"
            raise fail(text) from None  # type: ignore[operator]
        except OSError as error:
            raise fail(f"failed to create the container ID file: {error}") from error  # type: ignore[operator]

    def write(self, identifier: str) -> None:
        if self._descriptor >= 0:
            os.write(self._descriptor, identifier.encode())
            self._written = True

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            if not self._written:
                os.unlink(self._path)
