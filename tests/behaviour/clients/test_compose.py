"""A project of five services, from `up` to `down`, by compose v2 and by Debian's compose v1."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.behaviour.clients import programs
from tests.behaviour.conftest import MachineMaker
from tests.behaviour.harness.machine import Failed, Machine
from tests.behaviour.harness.waiting import patience, wait_for

PROJECT = f"{os.path.dirname(os.path.abspath(__file__))}/project"
Compose = Callable[..., str]


def compose_of(machine: Machine, program: str, folder: Path) -> Compose:
    """`compose("up", "-d")` in the project's folder, successfully: its standard output."""
    files = ["--project-directory", str(folder), "-f", f"{folder}/compose.yaml", "-p", "shop"]

    def compose(*words: str) -> str:
        argv = [program, *files, *words]
        result = machine.command(argv)
        if result.code:
            raise Failed(argv, result)
        return result.out.strip()

    return compose


def ask(compose: Compose) -> str:
    """The web server's answer; "" while what stands behind it is away."""
    address = compose("port", "web", "80")
    try:
        with urllib.request.urlopen(f"http://{address}/order", timeout=patience()) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, ConnectionError):
        return ""


@pytest.mark.parametrize("program", [programs.COMPOSE_2, programs.COMPOSE_1], ids=["v2", "v1"])
def test_a_project(fresh_machine: MachineMaker, tmp_path: Path, program: str) -> None:
    machine = fresh_machine("mariadb", "stack")
    folder = tmp_path / "shop"
    shutil.copytree(PROJECT, folder)
    compose = compose_of(machine, program, folder)
    up_and_asked(machine, compose)
    changed_while_it_runs(machine, compose)
    down_with_all_that_it_made(machine, compose)


def up_and_asked(machine: Machine, compose: Compose) -> None:
    """The API waits for a healthy database and cache, the web server for the API; names are found on two networks."""
    compose("up", "-d")
    assert wait_for(lambda: ask(compose), "the web server, which nobody waits for, to listen") == "orders: 1\n"
    wait_for(lambda: "done /order" in compose("logs", "worker"), "the worker to have done its job")
    of_project = ("--filter", "label=com.docker.compose.project=shop", "--format")
    states = machine.docker("ps", *of_project, "{{.Names}} {{.Status}}")
    assert len(states.splitlines()) == 5 and states.count("(healthy)") == 3
    assert compose("exec", "-T", "cache", "redis-cli", "get", "done") == "1"
    networks = machine.docker("network", "ls", *of_project, "{{.Name}}")
    assert sorted(networks.split()) == ["shop_front", "shop_inside"]


def changed_while_it_runs(machine: Machine, compose: Compose) -> None:
    """Scaled, restarted, and one more service of a profile; data outlives a new container."""
    compose("up", "-d", "--no-recreate", "--scale", "worker=3", "worker")
    assert len(compose("ps", "-q", "worker").split()) == 3
    compose("restart", "-t", "1", "web")
    assert wait_for(lambda: ask(compose), "the web server to be back") == "orders: 2\n"
    assert int(compose("--profile", "debug", "run", "--rm", "-T", "tools")) >= 1
    compose("up", "-d", "--force-recreate", "--no-deps", "-t", "5", "database")
    compose("up", "-d", "--no-recreate")
    compose("restart", "-t", "1", "api")
    assert wait_for(lambda: ask(compose), "the API to be back") == "orders: 3\n"


def down_with_all_that_it_made(machine: Machine, compose: Compose) -> None:
    compose("stop", "-t", "2", "worker")
    assert "Exited (0)" in machine.docker("ps", "-a", "--filter", "name=worker", "--format", "{{.Status}}")
    compose("down", "-v", "-t", "2")
    assert machine.docker("ps", "-aq") == "" and machine.docker("volume", "ls", "-q") == ""
    assert "shop" not in machine.docker("network", "ls", "--format", "{{.Name}}")
