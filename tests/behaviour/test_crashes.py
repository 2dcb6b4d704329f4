"""kill -9 of everything that can be killed, at any moment: nothing acknowledged is lost, nothing stays behind."""

from __future__ import annotations

import ast
import glob
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.behaviour.conftest import MachineMaker
from tests.behaviour.harness.audit import check_nothing_left, look_at
from tests.behaviour.harness.images import ROOT, archive
from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import patience, wait_for
from tests.behaviour.test_networking import SERVER, ask, ask_soon

COUNT = "n=0; while [ $n -lt {lines} ]; do n=$((n+1)); echo line $n; done; {then}"


@pytest.fixture
def fragile(fresh_machine: MachineMaker) -> Machine:
    """A machine of one's own, with busybox and its engine running."""
    return fresh_machine("busybox")


def numbered(count: int) -> str:
    return "".join(f"line {number}\n" for number in range(1, count + 1)).rstrip("\n")


def test_no_line_and_no_code_is_lost_while_engines_die(fragile: Machine) -> None:
    """The container writes all the time; the engine is killed again and again, at no particular moment."""
    slow = "n=0; while [ $n -lt 300 ]; do n=$((n+1)); echo line $n; sleep 0.02; done; exit 17"
    name = fragile("run", "-d", "busybox", "sh", "-c", slow)
    for _ in range(5):
        time.sleep(0.7)
        fragile.kill_engine()
    assert fragile("wait", name) == "17"
    assert fragile("logs", name) == numbered(300)
    assert fragile("inspect", "-f", "{{.State.ExitCode}}", name) == "17"


def test_a_container_that_ends_while_there_is_no_engine(fragile: Machine) -> None:
    name = fragile("run", "-d", "busybox", "sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; echo end; exit 5")
    fragile("exec", "-d", name, "sh", "-c", "sleep 0.5; touch /go")
    fragile.kill_engine()
    assert fragile("wait", name) == "5"
    assert fragile("logs", name) == "end"


def test_a_stopped_container_s_files_while_the_engine_dies(fragile: Machine) -> None:
    """A killed engine leaves the mount by which it read them, since the keeper holds the mount namespace. What its
    successor clears away must not be cleared away through that mount: the container's files would go with it."""
    name = fragile("run", "-d", "busybox", "sh", "-c", "echo x >/kept; head -c 16000000 /dev/zero >/big; mkdir /d")
    fragile("wait", name)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(fragile.socket)
        client.sendall(f"GET /containers/{name}/archive?path=/big HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.recv(12) == b"HTTP/1.1 200"  # and nothing more is read: the engine waits in the middle
        fragile.kill_engine()
        fragile.engine_pid()
    wait_for(lambda: not fragile.names_inside(f"{fragile.data}/tmp"), "the clearing up")
    assert fragile("diff", name) == "A /big\nA /d\nA /kept"
    fragile("start", name)
    assert fragile("wait", name) == "1"  # /d is there already


def test_big_output_while_the_engine_dies(fragile: Machine) -> None:
    name = fragile("run", "-d", "busybox", "sh", "-c", COUNT.format(lines=100_000, then="exit 3"))
    fragile.kill_engine()
    assert fragile("wait", name) == "3"
    assert fragile("logs", name) == numbered(100_000)


def test_restart_policies_go_on(fragile: Machine) -> None:
    name = fragile("run", "-d", "--restart", "always", "busybox", "sleep", "3600")
    first = fragile.pid(name)
    fragile.kill_engine()
    assert fragile.pid(name) == first
    fragile.signal(first, signal.SIGKILL)
    fragile.kill_engine()
    wait_for(lambda: fragile.pid(name) not in (0, first), "a new process")


def test_ports_and_exec_after_the_engine_died(fragile: Machine) -> None:
    fragile("load", "-i", archive("debian"))
    name = fragile("run", "-d", "-p", "8095:80", *SERVER)
    assert ask_soon("127.0.0.1", 8095) == "hello you"
    fragile.kill_engine()
    assert ask_soon("127.0.0.1", 8095) == "hello you"
    assert ask_soon("::1", 8095) == "hello you"
    assert fragile("exec", name, "echo", "inside") == "inside"
    fragile("stop", "-t", "0", name)
    with pytest.raises(ConnectionRefusedError):
        ask("127.0.0.1", 8095)


def test_a_detached_rm_container_is_removed_by_the_next_engine(fragile: Machine) -> None:
    name = fragile("run", "-d", "--rm", "busybox", "sleep", "3600")
    pid = fragile.pid(name)
    engine = fragile.engine_pid()
    fragile.signal(engine, signal.SIGSTOP)
    fragile.signal(pid, signal.SIGKILL)
    fragile.signal(engine, signal.SIGKILL)
    wait_for(lambda: fragile.containers() == [], "its removal")


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.04, 0.06, 0.1])
def test_the_command_line_killed_in_run(machine: Machine, delay: float) -> None:
    """As with docker, the container goes on without the client, or was never made."""
    process = machine.start("run", "--name", "left", "busybox", "sleep", "3600")
    time.sleep(delay)
    process.kill()
    process.communicate()
    assert machine("run", "--rm", "busybox", "echo", "next") == "next"
    states = {machine.status(name) for name in machine.containers()}
    assert states <= {"created", "running"}


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05])
def test_the_command_line_killed_in_rm(machine: Machine, delay: float) -> None:
    machine("run", "-d", "--name", "gone", "busybox", "sleep", "3600")
    process = machine.start("rm", "-f", "gone")
    time.sleep(delay)
    process.kill()
    process.communicate()
    machine.attempt("rm", "-f", "gone")
    wait_for(lambda: machine.containers() == [], "its removal")


@pytest.mark.parametrize("delay", [0.05, 0.2, 0.5])
def test_the_command_line_killed_in_load(fragile: Machine, delay: float) -> None:
    process = fragile.start("load", "-i", archive("debian"))
    time.sleep(delay)
    process.kill()
    process.communicate()
    wait_for(lambda: fragile.names_inside(f"{fragile.data}/tmp") == [], "the unfinished layer to be gone")
    fragile("load", "-i", archive("debian"))
    assert fragile("run", "--rm", "debian:bookworm", "echo", "whole") == "whole"


def test_the_engine_killed_while_loading(fragile: Machine) -> None:
    process = fragile.start("load", "-i", archive("debian"))
    time.sleep(0.4)
    fragile.kill_engine()
    process.communicate()
    fragile("load", "-i", archive("debian"))
    assert fragile("run", "--rm", "debian:bookworm", "echo", "whole") == "whole"
    assert fragile.names_inside(f"{fragile.data}/tmp") == []


def test_a_power_cut(fragile: Machine) -> None:
    """Processes, mounts and /run are gone; records, images, volumes and what containers wrote are there."""
    running = fragile("run", "-d", "-v", "data:/data", "busybox", "sh", "-c", "echo kept > /data/x; sync; sleep 3600")
    always = fragile("run", "-d", "--restart", "always", "busybox", "sleep", "3600")
    done = fragile("run", "-d", "busybox", "sh", "-c", "echo finished; exit 4")
    fragile("wait", done)
    wait_for(lambda: fragile("exec", running, "cat", "/data/x") == "kept", "the file")
    fragile.cut_power()
    assert fragile.status(running) == "exited"
    assert fragile("logs", done) == "finished"
    assert fragile("inspect", "-f", "{{.State.ExitCode}}", done) == "4"
    wait_for(lambda: fragile.status(always) == "running", "the container with --restart always")
    assert fragile("run", "--rm", "-v", "data:/data", "busybox", "cat", "/data/x") == "kept"
    fragile("start", running)
    assert fragile.status(running) == "running"


def test_the_keeper_killed(fragile: Machine) -> None:
    """The worst: nobody holds the output any more. The next command works all the same."""
    fragile("run", "-d", "--name", "orphan", "busybox", "sleep", "3600")
    keeper, pid = fragile.keeper_pid(), fragile.pid("orphan")
    fragile.signal(keeper, signal.SIGKILL)
    wait_for(lambda: not fragile.alive(keeper), "its end")
    assert fragile("run", "--rm", "busybox", "echo", "next") == "next"
    assert fragile.status("orphan") in ("running", "exited")
    fragile("rm", "-f", "orphan")
    wait_for(lambda: not fragile.alive(pid), "the orphan's end")


# -- every step of a start


#: First words of the failpoints of a container's life; others are on other ways, and tried where those are tested.
LIFE = ("run", "exit")


def find_failpoints(*ways: str) -> list[str]:
    """Names of failpoints that begin so, from the engine's sources: `step("x")` has two, `failpoint("y")` is one."""
    found: set[str] = set()
    for path in glob.glob(f"{ROOT}/guest_agent/engine/*.py"):
        with open(path, encoding="utf-8") as file:
            found.update(*map(failpoints_of, ast.walk(ast.parse(file.read()))))
    return sorted(name for name in found if name.partition(".")[0] in ways)


def failpoints_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
        name = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
        if isinstance(name, str) and node.func.id == "step":
            yield from (f"run.{name}.before", f"run.{name}.after")
        if isinstance(name, str) and node.func.id == "failpoint":
            yield name


@pytest.mark.parametrize("action", ["error", "kill"])
@pytest.mark.parametrize("name", find_failpoints(*LIFE))
def test_every_step_may_fail(fresh_machine: MachineMaker, name: str, action: str) -> None:
    """Failing or killed at each step: the command ends, nothing is left, and a retry succeeds."""
    machine = fresh_machine("busybox")
    before = look_at(machine)
    machine.restart({"HOSTVM_FAILPOINTS": f"{name}={action}"})
    words = ("run", "--name", "tried", "-p", "8099:80", "-v", "data:/bin", "busybox", "echo", "through")
    result = machine.attempt(*words)
    assert "Traceback" not in result.err
    if result.code == 0:
        assert name.startswith("exit.") and result.out == "through\n"
    machine.restart({})
    if name.startswith("run.") and (name, action) != ("run.record.after", "kill"):
        assert machine.containers() == []  # unacknowledged: the name is free for the retry
    machine.attempt("rm", "-f", "tried")
    machine.attempt("volume", "rm", "data")
    check_nothing_left(machine, before)
    assert machine(*words) == "through"


# -- many at once


def test_twenty_runs_at_once(machine: Machine) -> None:
    outputs: dict[int, str] = {}

    def run(number: int) -> None:
        outputs[number] = machine("run", "--rm", "busybox", "echo", str(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience(120))
    assert outputs == {number: str(number) for number in range(20)}
    assert machine.containers() == []


def test_start_of_many_command_lines_is_one_engine(fresh_machine: MachineMaker) -> None:
    machine = fresh_machine()
    clients = [machine.start("ps", "-q") for _ in range(8)]
    assert [client.wait(patience(60)) for client in clients] == [0] * 8
    for client in clients:
        client.communicate()
    roles = machine.roles()
    assert {"keeper", "engine"} <= set(roles)
    assert len(roles) == len(set(roles)), "one of each"
