"""`system check` finds what was damaged on the disk; with --repair it is fetched again, or set aside."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.conftest import MachineMaker
from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.worker import Worker
from tests.behaviour.images.registry_process import RegistryProcess


@pytest.fixture
def registry(worker: Worker, tmp_path: Path) -> Iterator[RegistryProcess]:
    place = tmp_path / "registry"
    place.mkdir()
    with RegistryProcess(place) as process:
        yield process


@pytest.fixture
def stored(fresh_machine: MachineMaker) -> Machine:
    return fresh_machine("busybox")


def _damage(machine: Machine, pattern: str) -> None:
    """Change a byte in each file that the pattern finds, behind the engine's back."""
    machine.stop()
    with machine.data_on_the_host() as data:
        found = glob.glob(f"{data}/{pattern}")
        assert found
        for path in found:
            with open(path, "r+b") as file:
                file.seek(os.path.getsize(path) // 2)
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 1]))


def test_a_damaged_layer_is_fetched_again(stored: Machine, registry: RegistryProcess) -> None:
    name = f"{registry.address}/busybox:1"
    stored("tag", "busybox", name)
    stored("push", "-q", name)
    assert "no problem" in stored("system", "check")
    _damage(stored, "layers/[0-9a-f]*/bin/busybox")
    assert "hint: `hostvm system check --repair`" in stored.fails(1, "system", "check")
    found = stored("system", "check", "--repair")
    assert "is damaged: its digest is sha256:" in found and f"fetched again from {registry.address}/busybox" in found
    assert "no problem" in stored("system", "check")
    assert stored("run", "--rm", name, "echo", "whole") == "whole"


def test_a_tree_that_was_changed_is_made_again(stored: Machine) -> None:
    """No registry is needed: the contents are whole, and the outline knows the rest."""
    stored.stop()
    with stored.data_on_the_host() as data:
        (busybox,) = glob.glob(f"{data}/layers/*/bin/busybox")
        os.chmod(os.path.dirname(busybox), 0o700)
        Path(busybox, "../../stray").resolve().touch()
    found = stored("system", "check", "--repair")
    assert '"bin" has another mode' in found and "made again from its contents" in found
    assert "no problem" in stored("system", "check")
    assert stored("run", "--rm", "busybox", "sh", "-c", "ls /stray || echo gone") == "gone"


def test_what_no_registry_has_is_set_aside(stored: Machine) -> None:
    _damage(stored, "layers/[0-9a-f]*/bin/busybox")
    found = stored("system", "check", "--repair")
    assert "set aside as" in found and "1 problem" in found
    assert stored("images", "-q") == ""
    assert "no problem" in stored("system", "check")


def test_a_damaged_configuration(stored: Machine, registry: RegistryProcess) -> None:
    """The engine can't even read it at its start; its layers are kept all the same."""
    name = f"{registry.address}/busybox:1"
    stored("tag", "busybox", name)
    stored("push", "-q", name)
    _damage(stored, "content/sha256/*")
    assert stored("images", "-q") == ""
    assert f"fetched again from {registry.address}/busybox" in stored("system", "check", "--repair")
    assert stored("run", "--rm", "busybox", "echo", "whole") == "whole"
