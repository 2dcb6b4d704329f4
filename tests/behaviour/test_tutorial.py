"""A Docker tutorial line by line, with `hostvm` in place of `docker`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymysql  # type: ignore[import-untyped]
import pytest

from tests.behaviour.conftest import MachineMaker
from tests.behaviour.harness.machine import HOSTVM, Machine
from tests.behaviour.harness.terminal import Terminal
from tests.behaviour.harness.waiting import wait_for

OpenTerminal = Callable[..., Terminal]


def test_hello_world(machine: Machine) -> None:
    assert machine("run", "--rm", "busybox", "echo", "hello, world") == "hello, world"


def test_echo_in_a_terminal(terminal: OpenTerminal) -> None:
    with terminal("run", "-it", "--rm", "busybox", "echo", "hello from a container") as screen:
        screen.expect("^hello from a container$")
        assert screen.wait() == 0


def test_a_shell_in_a_terminal(terminal: OpenTerminal) -> None:
    with terminal("run", "-it", "--rm", "debian:bookworm", "bash") as screen:
        screen.expect(r"root@[0-9a-f]{12}:/# ")
        screen.type("cat /etc/os-release\r")
        screen.expect('PRETTY_NAME="Debian GNU/Linux 12 ')
        screen.type("exit 7\r")
        assert screen.wait() == 7


def test_ps_in_another_terminal(machine: Machine, terminal: OpenTerminal) -> None:
    with terminal("run", "-it", "--name", "first", "debian:bookworm", "bash") as screen:
        screen.expect(r"root@[0-9a-f]{12}:/# ")
        header, row = machine("ps", "-a").splitlines()
        assert header.split("  ")[0] == "CONTAINER ID"
        assert re.split(r"\s{2,}", header) == [
            "CONTAINER ID",
            "IMAGE",
            "COMMAND",
            "CREATED",
            "STATUS",
            "PORTS",
            "NAMES",
        ]
        identity, image, command, created, status, name = re.split(r"\s{2,}", row)
        assert machine.containers()[0].startswith(identity) and len(identity) == 12
        assert (image, command, name) == ("debian:bookworm", '"bash"', "first")
        assert re.fullmatch(r"(Less than a|\d+) seconds? ago", created)
        assert re.fullmatch(r"Up (Less than a|\d+) seconds?", status)
        screen.type("exit\r")
        assert screen.wait() == 0
    assert "Exited (0)" in machine("ps", "-a")
    assert machine("ps", "--quiet") == ""


def test_the_applet_list(machine: Machine) -> None:
    assert machine("run", "--rm", "busybox", "busybox").splitlines()[0].startswith("BusyBox v1.")


def test_a_file_is_not_in_the_next_container(machine: Machine) -> None:
    machine("run", "--rm", "busybox", "sh", "-c", "echo mine > /file; rm /bin/ls")
    assert machine("run", "--rm", "busybox", "ls", "/bin/ls") == "/bin/ls"
    assert "No such file" in machine.fails(1, "run", "--rm", "busybox", "cat", "/file")


def test_two_containers_share_the_layers_of_their_image(machine: Machine) -> None:
    """The same inodes: nothing is copied."""
    show = ("run", "--rm", "busybox", "stat", "-c", "%i", "/bin/busybox")
    assert machine(*show) == machine(*show)
    assert machine("image", "inspect", "--format", "{{json .RootFS.Layers}}", "busybox").count("sha256:") == 1


def test_the_folder_that_one_stands_in(machine: Machine, tmp_path: Path) -> None:
    """`-v $PWD:/src`: a script is edited here and runs there."""
    (tmp_path / "hello.pl").write_text('open(my $out, ">", "made") or die; print $out "by the container"; print "hi"')
    line = f'cd "{tmp_path}" && {HOSTVM} run --rm -v "$PWD:/src" -w /src debian:bookworm perl hello.pl'
    result = machine.command(["sh", "-c", line])
    assert (result.code, result.out) == (0, "hi"), result.err
    assert (tmp_path / "made").read_text() == "by the container"


@pytest.fixture
def database(fresh_machine: MachineMaker) -> Iterator[Machine]:
    machine = fresh_machine("mariadb")
    machine("run", "-p", "3306:3306", "--name", "mysql", "-e", "MARIADB_ROOT_PASSWORD=secret", "-d", "mariadb")
    yield machine


def test_a_database(database: Machine) -> None:
    """A real MariaDB on port 3306, queried from the host by a client from PyPI, survives stop and start."""
    connection = wait_for(try_to_connect, "MariaDB to answer on 127.0.0.1:3306", 120)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        (version,) = cursor.fetchone() or ("",)
        assert "MariaDB" in version
        cursor.execute("CREATE DATABASE shop")
        cursor.execute("CREATE TABLE shop.items (id INT PRIMARY KEY, name VARCHAR(40))")
        cursor.executemany("INSERT INTO shop.items VALUES (%s, %s)", [(n, f"item {n}") for n in range(100)])
        connection.commit()
    assert "0.0.0.0:3306->3306/tcp" in database("ps")
    assert database("port", "mysql", "3306").splitlines()[0] == "0.0.0.0:3306"
    database("stop", "--time", "60", "mysql")
    assert database("inspect", "-f", "{{.State.ExitCode}}", "mysql") == "0"
    database("start", "mysql")
    connection = wait_for(try_to_connect, "MariaDB to answer after its restart", 120)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*), MAX(name) FROM shop.items")
        assert cursor.fetchone() == (100, "item 99")


def try_to_connect() -> Any:
    try:
        return pymysql.connect(host="127.0.0.1", user="root", password="secret", connect_timeout=5, read_timeout=30)
    except pymysql.err.OperationalError:
        return None


def test_isolation_seen_from_inside(machine: Machine) -> None:
    """Its own pid, network, mount, hostname, ipc and cgroup namespaces; the process is an ordinary one on the host."""
    name = machine("run", "-d", "busybox", "sleep", "4711")
    seen = machine("exec", name, "ps", "-o", "pid,args").splitlines()
    assert [line.split(None, 1) for line in seen[1:]] == [["1", "sleep 4711"], [seen[2].split()[0], "ps -o pid,args"]]
    assert machine("exec", name, "hostname") == name[:12]
    assert machine("exec", name, "ls", "/sys/class/net").split() == ["eth0", "lo"]
    pid = machine.pid(name)
    assert machine.read_inside(f"/proc/{pid}/cmdline") == "sleep\x004711\x00"
    its, ours = machine.ask("namespaces", pid), machine.ask("namespaces", machine.keeper_pid())
    for kind in ("pid", "net", "mnt", "uts", "ipc", "cgroup"):
        assert its[kind] != ours[kind], kind
    assert its["user"] == ours["user"]


def test_the_images_list(machine: Machine) -> None:
    header, *rows = machine("images").splitlines()
    assert re.split(r"\s{2,}", header) == ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
    listed = {tuple(row.split()[:2]) for row in rows}
    assert listed == {("busybox", "latest"), ("debian", "bookworm")}
