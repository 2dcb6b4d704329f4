"""`machine shell` and `machine ssh`: a command in the guest, with the user's streams, terminal, signals and folder."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import paramiko

from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure
from hostvm.cli.machine_choice import choose, have_machine, vm_machine
from hostvm.cli.terminal import RawMode, console_size
from hostvm.machines.ssh.session import UNKNOWN_CODE, RemoteCommand, Streams, Terminal
from hostvm.machines.vm.secure_shell import connect_shell, make_pid_file, plan_command, plan_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context

#: Seconds for the handshake; 0.6 under an emulated CPU, more on a busy host.
_DEADLINE = 60.0
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def shell(context: Context, arguments: Arguments) -> int:
    choose(context.settings, arguments.positional[:1])
    return run_in_guest(context, [], arguments.flag("forward-agent"))


def ssh(context: Context, arguments: Arguments) -> int:
    names, command = split_words(arguments, lambda name: have_machine(context.settings, name))
    choose(context.settings, names)
    return run_in_guest(context, command, arguments.flag("forward-agent"))


def split_words(arguments: Arguments, is_machine: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """(the machine's name, if given; the command). Without `--` the first word is a machine where one has that name."""
    words, dashes = arguments.positional, arguments.before_dashes
    if dashes is None:
        dashes = 1 if words and is_machine(words[0]) else 0
    if dashes > 1:
        raise Failure("only one machine can be named before --", 125, "hostvm machine ssh [NAME] -- COMMAND")
    return words[:dashes], words[dashes:]


def open_transport(context: Context) -> paramiko.Transport:
    """An SSH transport to the chosen machine, which is started where it isn't running."""
    machine = vm_machine(context.settings, "shell")
    context.connect().close()
    return connect_shell(machine.paths.control_socket, machine.paths.keys, machine.shares, _DEADLINE)


def run_in_guest(context: Context, command: list[str], forward_agent: bool) -> int:
    """The command's exit code; 255 where it isn't known, as with ssh."""
    if forward_agent and not os.environ.get("SSH_AUTH_SOCK"):
        raise Failure("there is no ssh agent to forward", 1, "start one: eval $(ssh-agent) && ssh-add")
    transport = open_transport(context)
    try:
        return _Foreground(transport, command, forward_agent).run()
    finally:
        transport.close()


class _Foreground:
    """One command in the foreground.

    It has a terminal where both ends of ours are one: with only the input a terminal, `ssh -- cat FILE >COPY` would
    write what a terminal makes of the lines' ends.
    """

    def __init__(self, transport: paramiko.Transport, command: list[str], forward_agent: bool) -> None:
        self._terminal = Terminal(os.environ.get("TERM") or "xterm", console_size) if have_terminal() else None
        self._pid_file = "" if self._terminal else make_pid_file()
        self._signal = 0
        self._line = plan_command(_working_folder(), command, self._pid_file)
        self._remote = RemoteCommand(transport, self._terminal, forward_agent)

    def run(self) -> int:
        self._remote.start(self._line)
        raw = RawMode(0) if self._terminal else None
        with _signals() as wake:
            try:
                if raw:
                    raw.enter()
                code = self._remote.run(Streams(), wake, lambda: self._take_signals(os.read(wake, 64)))
            finally:
                if raw:
                    raw.leave()
        return 128 + self._signal if self._signal and code == UNKNOWN_CODE else code

    def _take_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGWINCH:
                if self._terminal:
                    self._remote.resize()
            elif self._signal or self._terminal:
                raise Failure("", 128 + number)  # the second one, or one that wasn't typed: we are to end
            else:
                self._signal = number
                name = signal.Signals(number).name.removeprefix("SIG")
                self._remote.interrupt(plan_signal(self._pid_file, name))


def have_terminal() -> bool:
    return os.isatty(0) and os.isatty(1)


def _working_folder() -> str:
    """By the name that the user knows it by: $PWD where it is right."""
    named = os.environ.get("PWD", "")
    try:
        return named if named.startswith("/") and os.path.samefile(named, ".") else os.getcwd()
    except OSError:
        return "/"  # it has been removed


@contextmanager
def _signals() -> Iterator[int]:
    """A descriptor on which each signal's number arrives as a byte; `select` can wait for it, and for nothing else."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = {number: signal.signal(number, lambda _number, _frame: None) for number in (*_PASSED_ON, signal.SIGWINCH)}
    previous = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
