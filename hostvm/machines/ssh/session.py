"""One command over SSH, its streams those of the caller: descriptors in, exit code out.

Three parties wait here: the user's input, the command's output, and signals. Input has a thread of its own, as sending
blocks while the command doesn't read; output and signals are what the main thread waits for.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from dataclasses import dataclass

import paramiko
from paramiko.agent import AgentRequestHandler

from guest_agent.wire.errors import PeerMisbehaved, Unavailable
from hostvm.machines.ssh.client import open_channel

_CHUNK = 1 << 15
#: Seconds for the server to open a channel and to take a request.
DEADLINE = 15.0
#: What ssh(1) ends with where the command's own code isn't known.
UNKNOWN_CODE = 255


@dataclass(frozen=True, slots=True)
class Streams:
    """The descriptors that the command's streams are joined to."""

    input: int = 0
    output: int = 1
    errors: int = 2


@dataclass(frozen=True, slots=True)
class Terminal:
    """The terminal that the command is to have: its kind ($TERM), and its size as it is when asked."""

    kind: str
    size: Callable[[], tuple[int, int]]  #: (rows, columns)


class RemoteCommand:
    """`start`, then `run`; `resize` and `interrupt` are called by the same thread, out of `run`'s `wake`."""

    def __init__(self, transport: paramiko.Transport, terminal: Terminal | None, forward_agent: bool) -> None:
        self._transport = transport
        self._terminal = terminal
        self._channel = open_channel(transport, DEADLINE)
        # Kept: the handler ends what it forwards when it is collected.
        self._agent = AgentRequestHandler(self._channel) if forward_agent else None

    def start(self, line: str) -> None:
        """Has the guest's shell run `line`. Raises Unavailable."""
        try:
            self._channel.settimeout(DEADLINE)
            if self._terminal:
                rows, columns = self._terminal.size()
                self._channel.get_pty(self._terminal.kind, columns or 80, rows or 24)
            self._channel.exec_command(line)
            self._channel.settimeout(None)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise Unavailable(f"the command could not be started: {error}") from error

    def run(self, streams: Streams, wake: int, woken: Callable[[], None]) -> int:
        """The command's exit code. Whenever the descriptor `wake` can be read, `woken` is called.

        Raises BrokenPipeError when the reader of the output has gone, and what `woken` raises.
        """
        threading.Thread(target=self._send_input, args=(streams.input,), daemon=True).start()
        while self._write_output(streams):
            if wake in self._wait(wake):
                woken()
        return self._exit_code()

    def _wait(self, wake: int) -> list[int]:
        """Output, or a signal. A channel at its end is readable for ever: then only the exit code is waited for."""
        if self._channel.eof_received:
            self._channel.status_event.wait(0.05)
            return select.select([wake], [], [], 0)[0]
        return select.select([self._channel.fileno(), wake], [], [])[0]

    def resize(self) -> None:
        """Tells the guest what size the terminal has."""
        assert self._terminal
        rows, columns = self._terminal.size()
        if rows and columns:
            self._channel.resize_pty(columns, rows)

    def interrupt(self, line: str) -> None:
        """Runs `line` beside the command. sshd passes no signals on to what root runs (session.c)."""
        try:
            channel = open_channel(self._transport, DEADLINE)
            channel.exec_command(line)
            channel.recv_exit_status()
        except (paramiko.SSHException, PeerMisbehaved, EOFError, OSError):
            pass  # the connection has gone, and the command is out of reach

    def _write_output(self, streams: Streams) -> bool:
        """All that has come; False when nothing more will."""
        while self._channel.recv_ready():
            _write(streams.output, self._channel.recv(_CHUNK))
        while self._channel.recv_stderr_ready():
            _write(streams.errors, self._channel.recv_stderr(_CHUNK))
        # Its code may come before the last of the output: the end is when the server has closed the channel.
        ended = self._channel.closed or (self._channel.eof_received and self._channel.exit_status_ready())
        return not ended or self._channel.recv_ready() or self._channel.recv_stderr_ready()

    def _exit_code(self) -> int:
        code = self._channel.recv_exit_status()
        return code if code >= 0 else UNKNOWN_CODE

    def _send_input(self, descriptor: int) -> None:
        try:
            while data := os.read(descriptor, _CHUNK):
                self._channel.sendall(data)
            self._channel.shutdown_write()
        except (OSError, EOFError, paramiko.SSHException):
            pass  # the command has ended, or the terminal has gone: the main thread hears of it


def _write(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
