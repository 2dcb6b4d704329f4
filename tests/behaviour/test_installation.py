"""Installing: the scripts, `pip install .`, the unit that the package carries, and what the hot commands import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.behaviour.harness.images import ROOT
from tests.behaviour.harness.machine import HOSTVM, Machine
from tests.behaviour.harness.worker import Worker


@pytest.fixture(scope="session")
def installed(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the project by `pip install .`, not editable; its dependencies are borrowed."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    library = f"{folder}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    Path(f"{library}/borrowed.pth").write_text(os.path.dirname(os.path.dirname(pytest.__file__)) + "\n")
    pip = [f"{folder}/bin/python3", "-m", "pip", "install", "--quiet", "--no-deps", "--ignore-installed", ROOT]
    subprocess.run(worker.home_command(*pip), check=True)
    return folder


def test_pip_install_gives_a_working_hostvm(machine: Machine, installed: Path) -> None:
    result = machine.command([f"{installed}/bin/hostvm", "run", "--rm", "busybox", "echo", "hello"])
    assert (result.code, result.out) == (0, "hello\n"), result.err


def test_it_works_through_a_link(machine: Machine, installed: Path, tmp_path: Path) -> None:
    (tmp_path / "hv").symlink_to(installed / "bin/hostvm")
    assert machine.command([f"{tmp_path}/hv", "ps", "-q"]).code == 0


@pytest.mark.parametrize(
    "words",
    [("ps",), ("images",), ("run", "--rm", "busybox", "true"), ("version",), ("inspect", "busybox")],
)
def test_hot_commands_import_nothing_heavy(machine: Machine, words: tuple[str, ...]) -> None:
    """docs/decisions/0005: `import re` alone costs 5 ms, typer 130."""
    python = f"{os.path.dirname(HOSTVM)}/python3"
    command = [python, "-I", "-X", "importtime", "-m", "hostvm", *words]
    result = machine.command(command)
    assert result.code == 0, result.err
    imported = {line.rpartition("|")[2].strip() for line in result.err.splitlines() if line.startswith("import time:")}
    assert "hostvm.cli.main" in imported
    assert not imported & {"typer", "rich", "click", "argparse", "asyncio", "http.client", "pydantic"}


def test_the_second_quickstart_changes_nothing(machine: Machine) -> None:
    """In this machine's folders; the packages and the environment are there, as scripts/test has made them."""
    before = machine.names_inside(f"{machine.data}/layers"), machine("images", "-q")
    result = machine.command([f"{ROOT}/scripts/quickstart"])
    assert (result.code, result.out) == (0, "hello, world\n"), result.err
    assert (machine.names_inside(f"{machine.data}/layers"), machine("images", "-q")) == before


def test_help_teaches(machine: Machine) -> None:
    shown = machine("run", "--help")
    assert "hostvm run [OPTIONS] IMAGE [COMMAND] [ARG...]" in shown
    assert "--publish" in shown and "hostvm run --rm busybox echo" in shown
    assert "run" in machine("--help") and "bootstrap" in machine("--help")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(machine: Machine, shell: str) -> None:
    assert "hostvm" in machine("completion", shell)


def test_the_unit_is_carried(machine: Machine) -> None:
    unit = machine("machine", "unit")
    assert "KillMode=process" in unit and "Delegate=yes" in unit and "ExecStart=" in unit
