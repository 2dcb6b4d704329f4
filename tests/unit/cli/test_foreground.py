"""run, exec and attach, against scenes that the real engine must play in the same way."""

from __future__ import annotations

import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path

import pytest

from guest_agent.wire import frames
from tests.unit.cli import fake_engine
from tests.unit.cli.conftest import Start, argv
from tests.unit.cli.fake_engine import ID, Reply

Process = Callable[..., "subprocess.CompletedProcess[str]"]


def test_output_goes_where_it_belongs(start_engine: Start, process: Process) -> None:
    engine = start_engine(fake_engine.echo)
    done = process("run", "--rm", "--name", "web", "busybox", "echo", "hello")
    assert (done.stdout, done.stderr, done.returncode) == ("hello\n", "talk\n", 0)
    body = engine.peers[0].request
    assert body["Name"] == "web"
    assert body["AttachStdout"] and body["AttachStderr"] and not body["AttachStdin"]
    assert engine.requests[0].path == "/v1.44/hostvm/run"


def test_input_goes_in_and_ends(start_engine: Start, process: Process) -> None:
    """More than any socket buffer holds, so that the flow control is met."""
    start_engine(fake_engine.cat)
    text = "0123456789abcde\n" * 100_000
    done = process("run", "-i", "busybox", "cat", input=text)
    assert done.returncode == 3
    assert done.stdout == text


def test_without_i_the_input_stays_unread(start_engine: Start, process: Process) -> None:
    engine = start_engine(fake_engine.echo)
    process("run", "busybox", "echo", input="not for you")
    assert engine.peers[0].received == []


@pytest.mark.parametrize("name", ["TERM", "INT", "USR1"])
def test_signals_are_passed_on(name: str, start_engine: Start, tmp_path: Path) -> None:
    start_engine(fake_engine.until_signal)
    number = signal.Signals[f"SIG{name}"]
    with subprocess.Popen(argv(tmp_path / "engine.sock", "run", "busybox"), stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline() == b"up\n"
        child.send_signal(number)
        assert child.wait(10) == 128 + number


def test_a_reader_that_goes_is_no_error(start_engine: Start, tmp_path: Path) -> None:
    engine = start_engine(fake_engine.yes)
    with subprocess.Popen(
        argv(tmp_path / "engine.sock", "run", "busybox", "yes"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout and child.stderr
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(10) == 141
        assert child.stderr.read() == b""
    assert len(engine.requests) == 1


def test_missing_command_is_127(start_engine: Start, process: Process, tmp_path: Path) -> None:
    start_engine(fake_engine.missing_command)
    done = process("run", "--cidfile", str(tmp_path / "cid"), "busybox", "nosuch")
    assert done.returncode == 127
    assert done.stderr == (
        "WARNING: Your kernel does not support swap limit\n"
        'hostvm: Error response from daemon: exec: "nosuch": not found\n'
        "hint: is it in PATH?\n\nRun 'hostvm run --help' for more information\n"
    )
    assert (tmp_path / "cid").read_text() == ID


def test_cidfile_that_is_there_is_refused(start_engine: Start, process: Process, tmp_path: Path) -> None:
    engine = start_engine(fake_engine.echo)
    (tmp_path / "cid").write_text("")
    done = process("run", "--cidfile", str(tmp_path / "cid"), "busybox")
    assert done.returncode == 125
    assert "container ID file found" in done.stderr
    assert engine.requests == []


def test_cidfile_goes_when_nothing_was_made(process: Process, tmp_path: Path) -> None:
    assert process("run", "--cidfile", str(tmp_path / "cid"), "busybox").returncode == 125
    assert not (tmp_path / "cid").exists()


def test_pull_is_told_on_stderr(start_engine: Start, process: Process) -> None:
    start_engine(fake_engine.pulling)
    done = process("run", "busybox")
    assert done.stdout == "hello\n"
    assert done.stderr == (
        "Unable to find image 'busybox:latest' locally\nabc: Pulling fs layer\nabc: Pull complete\ntalk\n"
    )


def test_quiet_pull_says_nothing(start_engine: Start, process: Process) -> None:
    start_engine(fake_engine.pulling)
    assert process("run", "-q", "busybox").stderr == "talk\n"


def test_detached_run_prints_the_id(start_engine: Start, process: Process) -> None:
    engine = start_engine(fake_engine.background)
    done = process("run", "-d", "busybox")
    assert (done.stdout, done.returncode) == (ID + "\n", 0)
    config = engine.peers[0].request["Config"]
    assert isinstance(config, dict) and not config["AttachStdout"]


def test_engine_that_dies_is_125(start_engine: Start, process: Process) -> None:
    start_engine(fake_engine.engine_dies)
    done = process("run", "busybox")
    assert (done.stdout, done.returncode) == ("first\n", 125)
    assert done.stderr.startswith("hostvm: the engine ended the connection\nhint: ")


def test_engine_that_is_killed_and_comes_again_loses_nothing(start_engine: Start, process: Process) -> None:
    """Its successor has the whole log: what the user has seen of it is skipped, stream by stream."""
    log = b"".join(frames.encode(kind, data) for kind, data in [(1, b"fir"), (2, b"oh\n"), (1, b"st\nsecond\n")])
    successor = {
        f"GET /containers/{ID}/logs": Reply(log, chunked=True),
        f"POST /containers/{ID}/wait": Reply({"StatusCode": 9}),
    }
    start_engine(fake_engine.engine_dies, successor)
    done = process("run", "busybox")
    assert (done.stdout, done.stderr, done.returncode) == ("first\nsecond\n", "oh\n", 9)


def test_it_wants_a_terminal(start_engine: Start, process: Process) -> None:
    engine = start_engine(fake_engine.echo)
    done = process("run", "-it", "busybox", "sh", input="")
    assert (done.returncode, done.stderr.split("\n")[0]) == (1, "the input device is not a TTY")
    assert engine.requests == []


def test_exec_sends_its_request(start_engine: Start, process: Process) -> None:
    engine = start_engine(fake_engine.cat)
    done = process("exec", "-i", "-e", "A=1", "-w", "/x", "-u", "5", "web", "cat", "-u", input="in")
    assert (done.stdout, done.returncode) == ("in", 3)
    assert engine.peers[0].request["Container"] == "web"
    exec_body = engine.peers[0].request["Exec"]
    assert isinstance(exec_body, dict)
    assert exec_body["Cmd"] == ["cat", "-u"]
    assert (exec_body["Env"], exec_body["WorkingDir"], exec_body["User"]) == (["A=1"], "/x", "5")


def test_detach_keys_end_it_with_0(start_engine: Start, process: Process) -> None:
    start_engine(fake_engine.detached)
    done = process("exec", "web", "sh")
    assert (done.stdout, done.stderr, done.returncode) == ("$ ", "read escape sequence\n", 0)


class Terminal:
    """A command line on a pseudo-terminal of 30 by 100."""

    def __init__(self, *command: str) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
            os.execv(command[0], command)
        self.seen = b""

    def expect(self, text: bytes) -> None:
        deadline = time.monotonic() + 10
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.master], [], [], left)[0], self.seen
            self.seen += os.read(self.master, 4096)
        self.seen = self.seen.split(text, 1)[1]

    def local_modes(self) -> int:
        mode = termios.tcgetattr(self.master)[3]
        assert isinstance(mode, int)
        return mode

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_real_terminal(start_engine: Start, tmp_path: Path) -> None:
    """Raw mode, ctrl-c as a byte, resize, the exit code, and the terminal as it was."""
    engine = start_engine(fake_engine.terminal)
    terminal = Terminal(*argv(tmp_path / "engine.sock", "run", "-it", "busybox", "sh"))
    try:
        before = termios.ICANON | termios.ECHO | termios.ISIG
        terminal.expect(b"size 30x100")
        assert engine.peers[0].request["ConsoleSize"] == [30, 100]
        assert terminal.local_modes() & before == 0
        os.write(terminal.master, b"\x03")
        terminal.expect(rb"b'\x03'")
        ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        terminal.expect(b"size 40x120")
        os.write(terminal.master, b"\x04")
        assert terminal.wait() == 7
        assert terminal.local_modes() & before == before
    finally:
        os.close(terminal.master)


def test_the_terminal_is_given_back_when_the_engine_dies(start_engine: Start, tmp_path: Path) -> None:
    start_engine(fake_engine.engine_dies)
    terminal = Terminal(*argv(tmp_path / "engine.sock", "run", "-it", "busybox", "sh"))
    try:
        terminal.expect(b"the engine ended the connection\r\n")
        assert terminal.wait() == 125
        assert terminal.local_modes() & termios.ECHO
    finally:
        os.close(terminal.master)


def test_frames_of_the_exchange_are_known() -> None:
    """The kinds that a client takes, so that a new one isn't forgotten here."""
    assert {frames.PROGRESS, frames.CREATED, frames.STARTED, frames.EXIT, frames.ERROR, frames.DETACHED} == {
        4,
        5,
        6,
        7,
        8,
        9,
    }
