"""Containers with a terminal: size, keys, detaching, restoring."""

from __future__ import annotations

from collections.abc import Callable

from tests.behaviour.harness.machine import HOSTVM, Machine
from tests.behaviour.harness.terminal import Terminal
from tests.behaviour.harness.waiting import wait_for

OpenTerminal = Callable[..., Terminal]
CTRL_C, CTRL_D, CTRL_P_CTRL_Q = "\x03", "\x04", "\x10\x11"
PROMPT = "/ # "


def test_the_process_has_a_terminal_of_the_right_size(terminal: OpenTerminal) -> None:
    with terminal("run", "-it", "--rm", "busybox", "sh", rows=31, columns=97) as screen:
        screen.expect(PROMPT)
        screen.type("tty; stty size; echo $TERM\r")
        screen.expect(r"^/dev/pts/0\n31 97\nxterm$")
        screen.type("exit\r")
        assert screen.wait() == 0


def test_a_resize_reaches_the_process(terminal: OpenTerminal) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done"
    with terminal("run", "-it", "--rm", "busybox", "sh", "-c", script) as screen:
        screen.expect("^ready$")
        screen.resize(40, 120)
        screen.expect("^40 120$")
        screen.type(CTRL_C)
        assert screen.wait() == 130


def test_ctrl_c_interrupts_the_command_not_the_shell(terminal: OpenTerminal) -> None:
    with terminal("run", "-it", "--rm", "busybox", "sh") as screen:
        screen.expect(PROMPT)
        # One program: the shell itself may swallow what comes between two.
        screen.type("sh -c 'echo begun; exec sleep 1000'\r")
        screen.expect("^begun$")
        screen.type(CTRL_C)
        screen.expect(PROMPT)
        screen.type("echo status $?\r")
        screen.expect("^status 130$")
        screen.expect(PROMPT)  # before it, the terminal is in another mode, which would swallow the key
        screen.type(CTRL_D)
        assert screen.wait() == 0


def test_detach_and_attach_again(machine: Machine, terminal: OpenTerminal) -> None:
    with terminal("run", "-it", "--name", "kept", "busybox", "sh") as screen:
        screen.expect(PROMPT)
        screen.type("secret=42\r")
        screen.expect(PROMPT)
        screen.type(CTRL_P_CTRL_Q)
        assert screen.wait() == 0
    assert machine.status("kept") == "running"
    with terminal("attach", "kept") as screen:
        screen.type("echo the secret is $secret; exit 5\r")
        screen.expect("^the secret is 42$")
        assert screen.wait() == 5


def test_detach_keys_of_one_s_own(machine: Machine, terminal: OpenTerminal) -> None:
    with terminal("run", "-it", "--detach-keys", "ctrl-x,y", "--name", "kept", "busybox", "cat") as screen:
        screen.type(CTRL_P_CTRL_Q + "through\r")
        screen.expect("through")
        screen.type("\x18y")
        assert screen.wait() == 0
    assert machine.status("kept") == "running"


def test_exec_with_a_terminal(machine: Machine, terminal: OpenTerminal) -> None:
    machine("run", "-d", "--name", "base", "busybox", "sleep", "3600")
    with terminal("exec", "-it", "base", "sh", rows=33, columns=99) as screen:
        screen.expect(PROMPT)
        screen.type("stty size; exit 9\r")
        screen.expect("^33 99$")
        assert screen.wait() == 9
    assert machine.status("base") == "running"


def test_the_terminal_is_as_it_was_afterwards(machine: Machine) -> None:
    """Raw mode is undone, also when the container is killed under it."""
    script = (
        'before=$(stty -g); hostvm run -it --name doomed busybox cat; [ "$(stty -g)" = "$before" ] && echo restored'
    )
    with Terminal(["sh", "-c", script.replace("hostvm", HOSTVM)], machine.environment) as screen:
        screen.type("typed\r")
        screen.expect("typed\n(.*\n)*typed")
        machine("kill", "doomed")
        screen.expect("^restored$")


def test_t_without_a_terminal_is_refused(machine: Machine) -> None:
    assert "the input device is not a TTY" in machine.fails(1, "run", "-it", "--rm", "busybox", "true", stdin=b"")


def test_logs_of_a_terminal_are_one_stream(machine: Machine) -> None:
    name = machine("run", "-dt", "busybox", "sh", "-c", "echo out; echo err >&2")
    machine("wait", name)
    result = machine.attempt("logs", name)
    assert (result.out, result.err) == ("out\r\nerr\r\n", "")


def test_background_container_with_a_terminal_keeps_running(machine: Machine) -> None:
    machine("run", "-dit", "--name", "idle", "busybox", "sh")
    wait_for(lambda: machine.status("idle") == "running", "the shell")
    assert machine("exec", "idle", "readlink", "/proc/1/fd/0") == "/dev/pts/0"
