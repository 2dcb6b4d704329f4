"""Debian's docker command line against our socket: the tutorial, and the verbs that everybody uses."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator

import pytest

from tests.behaviour.harness.machine import DOCKER, HOSTVM, Machine
from tests.behaviour.harness.terminal import Terminal
from tests.behaviour.test_networking import SERVER, ask_soon


@pytest.fixture
def docker(machine: Machine) -> Iterator[Callable[..., str]]:
    yield machine.docker


@pytest.fixture
def terminal(machine: Machine) -> Callable[..., Terminal]:
    return lambda *words: Terminal([DOCKER, *words], machine.environment)


Docker = Callable[..., str]


def test_env_points_docker_at_the_engine(machine: Machine) -> None:
    shown = machine.command(["sh", "-c", f'eval "$({HOSTVM} env)"; echo $DOCKER_HOST']).out
    assert shown.strip() == f"unix://{machine.socket}"


def test_version_and_info(docker: Docker) -> None:
    assert re.fullmatch(r"\d+\.\d+.*", docker("version", "--format", "{{.Server.Version}}"))
    assert docker("info", "--format", "{{.OSType}} {{.Driver}}") == "linux overlay2"


def test_hello_world(docker: Docker) -> None:
    assert docker("run", "--rm", "busybox", "echo", "hello, world") == "hello, world"
    assert docker("ps", "-aq") == ""


def test_a_shell_in_a_terminal(terminal: Callable[..., Terminal]) -> None:
    with terminal("run", "-it", "--rm", "debian:bookworm", "bash") as screen:
        screen.expect(r"root@[0-9a-f]{12}:/# ")
        screen.type("stty size; exit 7\r")
        screen.expect("24 80$")
        assert screen.wait() == 7


def test_detach_keys(docker: Docker, terminal: Callable[..., Terminal]) -> None:
    with terminal("run", "-it", "--name", "kept", "busybox", "sh") as screen:
        screen.expect("/ # ")
        screen.type("\x10\x11")
        assert screen.wait() == 0
    assert docker("inspect", "-f", "{{.State.Status}}", "kept") == "running"


@pytest.mark.parametrize("code", [0, 3, 127])
def test_exit_codes(machine: Machine, code: int) -> None:
    assert machine.command([DOCKER, "run", "--rm", "busybox", "sh", "-c", f"exit {code}"]).code == code


def test_errors_of_run(machine: Machine) -> None:
    assert machine.command([DOCKER, "run", "--rm", "busybox", "nonsense"]).code == 127
    assert machine.command([DOCKER, "run", "--rm", "busybox", "/etc/passwd"]).code == 126
    assert machine.command([DOCKER, "run", "--rm", "--network", "nowhere", "busybox"]).code == 125


def test_ps_and_logs_and_exec(docker: Docker) -> None:
    identity = docker("run", "-d", "--name", "web", "-p", "8085:80", "-e", "A=b", *SERVER)
    assert re.fullmatch("[0-9a-f]{64}", identity)
    row = docker("ps", "--format", "{{.ID}} {{.Image}} {{.Names}} {{.Ports}}")
    assert row.startswith(f"{identity[:12]} debian:bookworm web 0.0.0.0:8085->80/tcp")
    assert ask_soon("127.0.0.1", 8085) == "hello you"
    assert docker("exec", "web", "sh", "-c", "echo $A") == "b"
    assert docker("exec", "-i", "web", "cat", stdin=b"piped") == "piped"
    assert docker("port", "web").splitlines()[0] == "80/tcp -> 0.0.0.0:8085"
    docker("stop", "-t", "0", "web")
    assert docker("ps", "-q") == ""
    assert docker("start", "web") == "web"
    docker("rm", "-f", "web")


def test_logs(docker: Docker) -> None:
    docker("run", "--name", "talk", "busybox", "seq", "1", "5")
    assert docker("logs", "talk").split() == ["1", "2", "3", "4", "5"]
    assert docker("logs", "--tail", "1", "-t", "talk").endswith("Z 5")
    assert docker("logs", "-f", "talk").split() == ["1", "2", "3", "4", "5"]


def test_inspect(docker: Docker) -> None:
    identity = docker("create", "--name", "seen", "-v", "data:/data", "-m", "64m", "busybox", "true")
    (seen,) = json.loads(docker("inspect", "seen"))
    assert (seen["Id"], seen["HostConfig"]["Memory"], seen["Mounts"][0]["Name"]) == (identity, 64 << 20, "data")


def test_wait_kill_rename_top(docker: Docker) -> None:
    docker("run", "-d", "--name", "one", "busybox", "sleep", "3600")
    docker("rename", "one", "two")
    assert "sleep 3600" in docker("top", "two")
    docker("kill", "two")
    assert docker("wait", "two") == "137"


def test_images(docker: Docker) -> None:
    assert "busybox" in docker("images", "--format", "{{.Repository}}").split()
    docker("tag", "busybox", "other:1")
    assert "Untagged: other:1" in docker("rmi", "other:1")
    assert docker("image", "inspect", "-f", "{{.Os}}", "busybox") == "linux"


def test_stdin_and_half_close(docker: Docker) -> None:
    assert docker("run", "-i", "--rm", "busybox", "wc", "-c", stdin=b"x" * 300_000) == "300000"


def test_bind_mounts_and_users(docker: Docker, tmp_path: object) -> None:
    docker("run", "--rm", "-v", f"{tmp_path}:/src", "-u", "1000", "-w", "/src", "busybox", "pwd")


def test_events(docker: Docker) -> None:
    docker("run", "--rm", "--name", "told-of", "busybox", "true")
    # The client sends whole seconds, and a machine's clock may differ from this one by another.
    until = str(int(time.time()) + 3)
    story = docker(
        "events", "--since", "10m", "--until", until, "--filter", "container=told-of", "--format", "{{.Action}}"
    )
    assert [word for word in story.split() if word in ("create", "start", "die")] == ["create", "start", "die"]


def test_both_see_the_same(machine: Machine) -> None:
    identity = machine.docker("run", "-d", "busybox", "sleep", "3600")
    assert machine("ps", "-q", "--no-trunc") == machine.docker("ps", "-q", "--no-trunc") == identity
