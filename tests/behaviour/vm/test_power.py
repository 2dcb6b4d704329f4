"""kill -9 of QEMU is the machine's power cut: what was synced is there, and the next command starts it again."""

from __future__ import annotations

import os
from typing import Any

import pymysql  # type: ignore[import-untyped]
import pytest

from tests.behaviour.conftest import MachineMaker
from tests.behaviour.harness.vm import VmMachine
from tests.behaviour.harness.waiting import patience, wait_for
from tests.behaviour.vm.writer import Writer

ROUNDS = 20


def rows(machine: VmMachine) -> list[str]:
    """What the writers left, by the next command after the cut: no repair, no start, nothing in between."""
    return machine("run", "--rm", "-v", "rows:/data", "busybox", "cat", "/data/rows").splitlines()


@pytest.mark.usefixtures("with_debian")
def test_synced_rows_survive_twenty_power_cuts(vm: VmMachine) -> None:
    """Each row that was acknowledged is there, in its order; of the others any number, but none in pieces."""
    first = 1
    for number in range(ROUNDS):
        with Writer(vm, first) as writer:
            writer.wait_for_rows(5 + 3 * number)  # another moment of the journal each time
            vm.cut_power()
            writer.wait_until_it_hears()
        found = rows(vm)
        assert len(found) >= writer.acknowledged
        assert found == [f"row {n}" for n in range(1, len(found) + 1)]
        first = len(found) + 1
    assert vm.containers() == []  # each writer had --rm


@pytest.fixture
def database(fresh_machine: MachineMaker) -> VmMachine:
    machine = fresh_machine("mariadb")
    assert isinstance(machine, VmMachine)
    words = ("-p", "3306:3306", "-v", "tables:/var/lib/mysql", "-e", "MARIADB_ROOT_PASSWORD=secret")
    machine("run", "-d", "--name", "mysql", "--restart", "always", *words, "mariadb")
    return machine


def connect() -> Any:
    """None until MariaDB answers."""
    try:
        return pymysql.connect(
            host="127.0.0.1", user="root", password="secret", connect_timeout=10, read_timeout=int(patience())
        )
    except (pymysql.err.OperationalError, OSError):
        return None


def test_a_database_that_was_written_to(database: VmMachine) -> None:
    """InnoDB syncs its log at each commit: committed rows are there when it is back, and it is back by itself."""
    committed = 0
    for _ in range(2):
        connection = wait_for(connect, "MariaDB to answer", 180)
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE IF NOT EXISTS shop")
            cursor.execute("CREATE TABLE IF NOT EXISTS shop.items (id INT PRIMARY KEY)")
            for _ in range(25):
                cursor.execute("INSERT INTO shop.items VALUES (%s)", (committed + 1,))
                connection.commit()
                committed += 1
            cursor.execute("INSERT INTO shop.items VALUES (1000000)")  # never committed
        database.cut_power()
        wait_for(lambda: database.status("mysql") == "running", "the container with --restart always")
    with wait_for(connect, "MariaDB to answer", 180) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*), MAX(id) FROM shop.items")
        assert cursor.fetchone() == (committed, committed)


def is_connected(pid: int) -> bool:
    """Whether a process has a socket."""
    folder = f"/proc/{pid}/fd"
    try:
        return any(os.readlink(f"{folder}/{name}").startswith("socket:") for name in os.listdir(folder))
    except FileNotFoundError:
        return False  # a file that was closed meanwhile


def test_a_dead_qemu_is_noticed_and_said(vm: VmMachine) -> None:
    """A client that waits is told at once, with what happened; the next command finds the machine running again."""
    name = vm("run", "-d", "busybox", "sleep", "3600")
    with vm.start("wait", name) as client:
        wait_for(lambda: is_connected(client.pid), "the client to wait")
        vm("ps")  # a whole exchange: that of the client has begun before
        vm.cut_power()
        _, complaint = client.communicate(timeout=patience())
    assert client.returncode == 1
    assert b"Traceback" not in complaint and complaint.strip()
    assert vm.status(name) == "exited"
    assert vm("run", "--rm", "busybox", "echo", "again") == "again"


def test_a_shutdown_is_soft(vm: VmMachine) -> None:
    """Containers get their stop signal, and what they then write is on the disk."""
    script = "trap 'echo ended > /data/word; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    name = vm("run", "-d", "-v", "data:/data", "busybox", "sh", "-c", script)
    wait_for(lambda: vm("logs", name) == "ready", "the trap to be set")
    vm.stop()
    wait_for(lambda: not vm.running(), "the supervisor's end")
    assert vm("run", "--rm", "-v", "data:/data", "busybox", "cat", "/data/word") == "ended"
    assert vm("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name) == "exited 7"
