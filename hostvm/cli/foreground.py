"""A container or a command in the foreground: its streams are the user's, so are its signals and its terminal."""

import _signal  # type: ignore[import-not-found]  # `signal` builds enums, for 4 ms

from guest_agent.wire import frames
from guest_agent.wire.errors import HostvmError, error_of_record
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_bytes, write_error
from hostvm.client.jsontext import dumps, loads_object
from hostvm.client.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.terminal import RawMode

#: Not passed on: what the kernel sends us about ourselves, faults of our own, and job control of the user's shell.
_OWN = frozenset((
    "SIGKILL", "SIGSTOP", "SIGCHLD", "SIGCLD", "SIGPIPE", "SIGURG", "SIGWINCH", "SIGTSTP", "SIGTTIN", "SIGTTOU",
    "SIGCONT", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGIOT", "SIGTRAP", "SIGSYS", "SIGPROF",
    "SIGRTMIN", "SIGRTMAX",
))  # fmt: skip


def passed_on() -> list[tuple[int, str]]:
    """(number, name without SIG) of every signal that is the container's while it is in the foreground."""
    return [
        (number, name[3:])
        for name, number in vars(_signal).items()
        if name.startswith("SIG") and name[3] != "_" and name not in _OWN and isinstance(number, int)
    ]


class ConnectionLost(Failure):
    """The engine ended the stream without saying how the container ended; with -d it does so after STARTED."""

    def __init__(self) -> None:
        super().__init__(
            "hostvm: the engine ended the connection", 125, "`hostvm ps -a` shows what became of the container"
        )


class Listener:
    """What `run` does about the frames that come before the output; the others leave it as it is."""

    def progress(self, record: dict[str, object]) -> None:
        """One object of a pull."""

    def created(self, identifier: str, warnings: list[str]) -> None:
        """The container is there."""

    def started(self, identifier: str) -> None:
        """Its process runs."""


def run_detachable(foreground: "Foreground", detach: bool) -> int:
    """Runs the session; with -d its end after STARTED is what is expected."""
    try:
        return foreground.run()
    except ConnectionLost:
        if detach and foreground.identifier:
            return 0
        raise


class Foreground:
    """Runs one session to its end. `interactive` follows standard input, `tty` puts the terminal into raw mode."""

    def __init__(self, session: Session, interactive: bool, tty: bool, proxy: bool, listener: Listener) -> None:
        self._session = session
        self._interactive = interactive
        self._tty = tty
        self._proxy = proxy
        self._listener = listener
        self._raw: RawMode | None = None
        self._failed: HostvmError | None = None
        self._output_gone = False
        self.received = {frames.STDOUT: 0, frames.STDERR: 0}  #: bytes of each stream that the user has
        self.identifier = ""  #: of the container, once it has started
        self.exit_code: int | None = None
        self.detached = False

    def run(self) -> int:
        """The container's exit code; 0 after a detach. Raises what the engine refused with, or BrokenPipeError."""
        try:
            ended = self._session.run(self._take)
        finally:
            if self._raw:
                self._raw.leave()
            self._session.close()
        if self._failed:
            raise self._failed
        if self._output_gone:
            raise BrokenPipeError
        if self.detached:
            write_error("read escape sequence\n")
            return 0
        if not ended:
            raise ConnectionLost
        return self.exit_code or 0

    def _take(self, kind: int, payload: bytes) -> bool:
        """One frame; True when it was the last."""
        if kind in (frames.STDOUT, frames.STDERR):
            return self._write(kind, payload)
        if kind == frames.DETACHED:
            self.detached = True
            return True
        fields = loads_object(payload)
        if kind == frames.ERROR:
            self._failed = error_of_record(fields)
            return True
        if kind == frames.EXIT:
            code = fields.get("StatusCode")
            self.exit_code = code if isinstance(code, int) else 0
            return True
        self._take_news(kind, fields)
        return False

    def _take_news(self, kind: int, fields: dict[str, object]) -> None:
        if kind == frames.PROGRESS:
            self._listener.progress(fields)
        elif kind == frames.CREATED:
            warnings = fields.get("Warnings")
            self._listener.created(str(fields.get("Id")), list(warnings) if isinstance(warnings, list) else [])
        elif kind == frames.STARTED:
            self.identifier = str(fields.get("Id"))
            self._listener.started(self.identifier)
            self._start()

    def _write(self, kind: int, payload: bytes) -> bool:
        """Output to the user. A reader that has gone ends the session, as SIGPIPE would end a program."""
        try:
            write_bytes(kind, payload)
        except BrokenPipeError:
            self._output_gone = True
            if self._proxy:
                self._session.send(frames.SIGNAL, b'{"signal":"PIPE"}')
            return True
        self.received[kind] += len(payload)
        return False

    def _start(self) -> None:
        """Signals before this point end us, and with us the pull; from here on they are the container's."""
        self._session.wake_on_signals()
        if self._proxy:
            self._proxy_signals()
        if self._tty:
            self._take_terminal()
        if self._interactive:
            self._session.follow_input(0)

    def _proxy_signals(self) -> None:
        for number, name in passed_on():
            payload = dumps({"signal": name}).encode()
            _signal.signal(number, lambda _number, _frame, payload=payload: self._session.send(frames.SIGNAL, payload))

    def _take_terminal(self) -> None:
        from hostvm.cli.terminal import RawMode, is_terminal

        if self._interactive and is_terminal(0):
            self._raw = RawMode(0)
            self._raw.enter()
        if is_terminal(1):
            _signal.signal(_signal.SIGWINCH, lambda _number, _frame: self._send_size())
            self._send_size()

    def _send_size(self) -> None:
        from hostvm.cli.terminal import console_size

        rows, columns = console_size()
        if rows and columns:
            self._session.send(frames.RESIZE, dumps({"h": rows, "w": columns}).encode())
