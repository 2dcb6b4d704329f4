"""logs, attach, exec and the streams of `run`: every byte, in order, on the right stream."""

from __future__ import annotations

import hashlib
import re
import signal
import time

from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import patience, wait_for

TALK = ("busybox", "sh", "-c", "echo out; echo err >&2; echo out again")


def test_stdout_and_stderr_are_apart(machine: Machine) -> None:
    result = machine.attempt("run", "--rm", *TALK)
    assert (result.out, result.err) == ("out\nout again\n", "err\n")


def test_stdin_to_its_end(machine: Machine) -> None:
    data = bytes(range(256)) * 4000
    counted = machine("run", "-i", "--rm", "busybox", "sh", "-c", "md5sum | cut -d' ' -f1; echo end", stdin=data)
    assert counted.split() == [hashlib.md5(data).hexdigest(), "end"]


def test_without_i_stdin_is_empty(machine: Machine) -> None:
    assert machine("run", "--rm", "busybox", "wc", "-c", stdin=b"unseen") == "0"


def test_a_megabyte_comes_whole(machine: Machine) -> None:
    size = 8 << 20
    assert len(machine("run", "--rm", "busybox", "sh", "-c", f"yes abcdefg | head -c {size}")) == size - 1


def test_logs_after_the_end(machine: Machine) -> None:
    name = machine("run", "-d", *TALK)
    machine("wait", name)
    result = machine.attempt("logs", name)
    assert (result.out, result.err) == ("out\nout again\n", "err\n")


def test_the_last_line_may_lack_its_newline(machine: Machine) -> None:
    name = machine("run", "-d", "busybox", "printf", "no newline")
    machine("wait", name)
    assert machine.attempt("logs", name).out == "no newline"


def test_logs_tail_since_until_and_times(machine: Machine) -> None:
    name = machine("run", "-d", "busybox", "sh", "-c", "seq 1 5; sleep 1.5; seq 6 10")
    machine("wait", name)
    assert machine("logs", "--tail", "2", name) == "9\n10"
    assert machine("logs", "-n", "0", name) == ""
    lines = machine("logs", "-t", name).splitlines()
    stamps = [line.split()[0] for line in lines]
    assert [line.split()[1] for line in lines] == [str(number) for number in range(1, 11)]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", stamp) for stamp in stamps)
    assert stamps == sorted(stamps)
    assert machine("logs", "--since", stamps[5], name).split() == ["6", "7", "8", "9", "10"]
    assert machine("logs", "--until", stamps[5], name).split()[:5] == ["1", "2", "3", "4", "5"]
    assert machine("logs", "--since", "1h", name).split()[0] == "1"


def test_follow_ends_with_the_container(machine: Machine) -> None:
    name = machine("run", "-d", "busybox", "sh", "-c", "for n in 1 2 3 4 5; do echo $n; sleep 0.2; done")
    assert machine("logs", "--follow", name).split() == ["1", "2", "3", "4", "5"]


def test_follow_with_tail_of_a_running_container(machine: Machine) -> None:
    name = machine("run", "-d", "-i", "busybox", "sh", "-c", "seq 1 3; sleep 2; seq 4 6")
    wait_for(lambda: machine("logs", name) == "1\n2\n3", "the first lines")
    assert machine("logs", "-f", "--tail", "1", name).split() == ["3", "4", "5", "6"]


def test_logs_of_a_container_that_never_ran(machine: Machine) -> None:
    name = machine("create", "busybox", "true")
    assert machine("logs", name) == ""


def test_attach_sees_what_comes(machine: Machine) -> None:
    name = machine("create", "-i", "busybox", "cat")  # with run -d -i, cat's input would stay open for the next client
    machine("start", name)
    assert machine("attach", name, stdin=b"one\ntwo\n") == "one\ntwo"
    assert machine("wait", name) == "0"


def test_two_attached_see_the_same(machine: Machine) -> None:
    name = machine("run", "-d", "busybox", "sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; echo now; exit 6")
    clients = [machine.start("attach", "--no-stdin", name) for _ in range(2)]
    time.sleep(1)  # attach says nothing when it has begun
    machine("exec", name, "touch", "/go")
    for client in clients:
        out, _ = client.communicate(timeout=patience())
        assert (out, client.returncode) == (b"now\n", 6)


def test_attaching_to_a_stopped_container_is_refused(machine: Machine) -> None:
    name = machine("create", "busybox")
    complaint = machine.fails(1, "attach", name).lower()
    assert "cannot attach to a stopped container, start it first" in complaint


def test_exec_runs_in_the_container(machine: Machine) -> None:
    name = machine("run", "-d", "-e", "WHO=container", "busybox", "sleep", "3600")
    assert machine("exec", name, "sh", "-c", "echo $WHO; hostname") == f"container\n{name[:12]}"
    assert machine("exec", "-e", "WHO=exec", name, "sh", "-c", "echo $WHO") == "exec"
    assert machine("exec", "-w", "/tmp", name, "pwd") == "/tmp"
    assert machine("exec", "-u", "1000:1000", name, "id", "-u") == "1000"
    assert machine("exec", "-i", name, "cat", stdin=b"piped") == "piped"


def test_exec_keeps_streams_and_codes(machine: Machine) -> None:
    name = machine("run", "-d", "busybox", "sleep", "3600")
    result = machine.attempt("exec", name, "sh", "-c", "echo out; echo err >&2; exit 42")
    assert (result.code, result.out, result.err) == (42, "out\n", "err\n")


def test_detached_exec(machine: Machine) -> None:
    name = machine("run", "-d", "busybox", "sleep", "3600")
    assert machine("exec", "-d", name, "touch", "/made") == ""
    wait_for(lambda: machine.attempt("exec", name, "test", "-e", "/made").code == 0, "the file made by exec -d")


def test_exec_of_what_is_not_there(machine: Machine) -> None:
    name = machine("run", "-d", "busybox", "sleep", "3600")
    assert "executable file not found in $PATH" in machine.fails(127, "exec", name, "nonsense")
    assert "permission denied" in machine.fails(126, "exec", name, "/etc/passwd")
    machine("stop", "-t", "0", name)
    assert f"container {name} is not running" in machine.fails(1, "exec", name, "true").lower()
    assert "No such container: nobody" in machine.fails(1, "exec", "nobody", "true")


#: Port 9 in the state LISTEN (proc_pid_net(5)).
LISTENING = re.compile(r":0009 \S+ 0A ")
#: cat(1) of busybox uses sendfile(2): while it waits for its socket, its output's pipe is locked.
LOCKING = """
nc -l -p 9 -e sh -c 'exec cat >&2' &
while sleep 0.2; do echo alive; done
"""
SENDING = "(until [ -e /go ]; do sleep 0.1; done; echo said; exec sleep 3600) | nc 127.0.0.1 9"


def test_a_locked_pipe_holds_nobody_up(machine: Machine) -> None:
    """Nor the other stream of the same container, nor its end.

    The engine is late: when it goes on, there are bytes in the pipe, and their writer has locked it again.
    """
    machine("run", "-d", "--name", "locking", "busybox", "sh", "-c", LOCKING)
    sockets = ("cat", "/proc/net/tcp", "/proc/net/tcp6")
    wait_for(lambda: LISTENING.search(machine("exec", "locking", *sockets)), "the listener")
    machine("exec", "-d", "locking", "sh", "-c", SENDING)
    cat = wait_for(lambda: pid_of_cat(machine), "the connection")
    engine = machine.engine_pid()
    machine.signal(engine, signal.SIGSTOP)
    try:
        machine.inside(["touch", f"/proc/{cat}/root/go"])
        wait_for(lambda: "wchar: 5\n" in machine.read_inside(f"/proc/{cat}/io"), "the word in the pipe")
    finally:
        machine.signal(engine, signal.SIGCONT)
    seen = len(machine("logs", "locking"))
    wait_for(lambda: len(machine.attempt("logs", "locking").out) > seen + 20, "more of the other stream")
    assert machine("exec", "-i", "locking", "cat", stdin=b"through") == "through"
    machine("kill", "locking")
    assert machine("wait", "locking") == "137"
    assert machine.attempt("logs", "locking").err == "said\n"


def pid_of_cat(machine: Machine) -> int:
    """0 before it runs."""
    rows = machine("top", "locking").splitlines()
    return next((int(row.split()[1]) for row in rows if row.endswith(" cat")), 0)
