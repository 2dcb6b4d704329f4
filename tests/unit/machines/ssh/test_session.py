"""Commands over SSH: who is spoken to, what goes through, and how it ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import paramiko
import pytest

from guest_agent.wire.errors import Forbidden, Unavailable
from hostvm.machines.ssh.client import open_transport
from hostvm.machines.ssh.keys import KeyPair, make_key_pair
from hostvm.machines.ssh.session import RemoteCommand, Streams, Terminal
from tests.unit.machines.ssh.ssh_server import Server, serving


class Pipes:
    """The user's ends of a command's streams."""

    def __init__(self) -> None:
        self.input_end, self.input = os.pipe()
        self._output, self.output_end = os.pipe()
        self._errors, self.errors_end = os.pipe()
        self.read = {"output": b"", "errors": b""}
        self._threads = [
            threading.Thread(target=self._collect, args=(name, end), daemon=True)
            for name, end in (("output", self._output), ("errors", self._errors))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def streams(self) -> Streams:
        return Streams(self.input_end, self.output_end, self.errors_end)

    def finish(self) -> tuple[bytes, bytes]:
        os.close(self.output_end)
        os.close(self.errors_end)
        for thread in self._threads:
            thread.join()
        return self.read["output"], self.read["errors"]

    def _collect(self, name: str, descriptor: int) -> None:
        while data := os.read(descriptor, 1 << 16):
            self.read[name] += data


def run(
    transport: paramiko.Transport, line: str, input: bytes = b"", wake: int = -1, woken: Callable[[], None] = print
) -> tuple[int, bytes, bytes]:
    pipes, (reading, _) = Pipes(), os.pipe()
    command = RemoteCommand(transport, None, False)
    command.start(line)
    os.write(pipes.input, input)
    os.close(pipes.input)
    code = command.run(pipes.streams, reading if wake < 0 else wake, woken)
    return code, *pipes.finish()


@pytest.mark.parametrize("code", [0, 1, 7, 137])
def test_exit_codes_are_kept(transport: paramiko.Transport, code: int) -> None:
    assert run(transport, f"exit {code}")[0] == code


def test_a_code_that_isnt_known_is_255(transport: paramiko.Transport) -> None:
    assert run(transport, "kill -9 $$")[0] == 255


def test_both_outputs_stay_apart(transport: paramiko.Transport) -> None:
    assert run(transport, "echo out; echo err >&2") == (0, b"out\n", b"err\n")


def test_input_reaches_the_command_and_ends(transport: paramiko.Transport) -> None:
    assert run(transport, "wc -c; echo done", b"x" * 4000)[1].split() == [b"4000", b"done"]


def test_all_output_of_a_quick_command_arrives(transport: paramiko.Transport) -> None:
    """The exit code may overtake the output: what was in the window's queue mustn't be dropped."""
    assert len(run(transport, "head -c 3000000 /dev/zero")[1]) == 3000000


def test_an_end_of_output_before_the_end_is_waited_for(transport: paramiko.Transport) -> None:
    assert run(transport, "exec >&- 2>&-; sleep 0.2; exit 5")[0] == 5


def test_a_signal_is_sent_beside_the_command(transport: paramiko.Transport) -> None:
    reading, writing = os.pipe()
    pipes = Pipes()
    command = RemoteCommand(transport, None, False)
    command.start("trap 'echo caught; exit 9' TERM; echo $$; while :; do sleep 0.05; done")

    def woken() -> None:
        os.read(reading, 1)
        while not pipes.read["output"].endswith(b"\n"):
            pass
        command.interrupt(f"kill -TERM {pipes.read['output'].decode().strip()}")

    command_code: list[int] = []
    thread = threading.Thread(target=lambda: command_code.append(command.run(pipes.streams, reading, woken)))
    thread.start()
    while not pipes.read["output"].endswith(b"\n"):
        pass
    os.write(writing, b"x")
    thread.join(10)
    assert command_code == [9]
    assert pipes.finish()[0].endswith(b"caught\n")


def test_a_terminal_is_asked_for_with_its_size(connected: tuple[paramiko.Transport, Server]) -> None:
    transport, server = connected
    command = RemoteCommand(transport, Terminal("xterm", lambda: (33, 99)), False)
    command.start("sleep 0.2")
    command.resize()
    pipes, (reading, _) = Pipes(), os.pipe()
    command.run(pipes.streams, reading, print)
    assert server.requests == [("pty", b"xterm", 33, 99), ("size", 33, 99)]


def test_another_host_key_is_refused(host_key: KeyPair, user_key: KeyPair) -> None:
    with serving(make_key_pair(), user_key) as (stream, _), pytest.raises(Forbidden, match="another key"):
        open_transport(stream, "root", user_key, host_key, 5)


def test_a_user_who_isnt_let_in(host_key: KeyPair, user_key: KeyPair) -> None:
    with serving(host_key, make_key_pair()) as (stream, _), pytest.raises(Forbidden, match="doesn't let root in"):
        open_transport(stream, "root", user_key, host_key, 5)


def test_no_ssh_server_there(host_key: KeyPair, user_key: KeyPair) -> None:
    import socket

    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(Unavailable, match="SSH server doesn't answer"):
        open_transport(ours, "root", user_key, host_key, 1)
