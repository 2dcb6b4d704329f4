"""pull from a real registry by the command line: what runs is what another tool pushed."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.harness import images
from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import wait_for
from tests.behaviour.harness.worker import Worker
from tests.behaviour.images.layouts import File, Layout, folder, make_tar
from tests.behaviour.images.registry_process import RegistryProcess


@pytest.fixture
def registry(worker: Worker, tmp_path: Path) -> Iterator[RegistryProcess]:
    place = tmp_path / "registry"
    place.mkdir()
    with RegistryProcess(place) as process:
        yield process


def busybox_layer() -> bytes:
    """The layer of the busybox archive: a base to put layers on."""
    with tarfile.open(images.archive("busybox")) as archive:
        layer = archive.extractfile("layer.tar")
        assert layer is not None
        return layer.read()


@pytest.fixture
def layered(tmp_path: Path) -> Path:
    """busybox, then files, then a layer that removes one of them and empties a folder."""
    files = make_tar(folder("d"), File("d/old", b"old"), folder("w"), File("w/gone", b"x"), File("w/kept", b"kept\n"))
    changes = make_tar(folder("d"), File("d/.wh..wh..opq"), File("d/new", b"new"), folder("w"), File("w/.wh.gone"))
    layout = Layout(tmp_path / "layout")
    return layout.finish(layout.put_image(busybox_layer(), files, changes))


@pytest.fixture
def pulled(machine: Machine) -> Iterator[Machine]:
    """The machine; images that a test adds are removed, as the other tests count them."""
    before = set(machine("images", "--format", "{{.Repository}}:{{.Tag}}").split())
    yield machine
    if containers := machine.containers():
        machine("rm", "-f", *containers)
    if added := set(machine("images", "--format", "{{.Repository}}:{{.Tag}}").split()) - before:
        machine("rmi", *added)


def test_run_pulls_what_is_missing(pulled: Machine, registry: RegistryProcess, layered: Path) -> None:
    name = f"{registry.address}/team/app:1"
    registry.push(layered, "team/app:1")
    result = pulled.attempt("run", "--rm", name, "sh", "-c", "ls /d /w; cat /w/kept")
    assert (result.code, result.out) == (0, "/d:\nnew\n\n/w:\nkept\nkept\n"), result.err
    assert f"Unable to find image '{name}' locally" in result.err
    assert "Status: Downloaded newer image" in result.err
    assert pulled("run", "--rm", "--pull", "never", name, "echo", "local") == "local"


def test_pull_shows_docker_s_lines(pulled: Machine, registry: RegistryProcess, layered: Path) -> None:
    name = f"{registry.address}/app:1"
    registry.push(layered, "app:1")
    lines = pulled("pull", name).splitlines()
    assert lines[0] == "1: Pulling from app"
    assert sum(line.endswith((": Pull complete", ": Already exists")) for line in lines) == 3
    assert re.fullmatch("Digest: sha256:[0-9a-f]{64}", lines[-3])
    assert lines[-2:] == [f"Status: Downloaded newer image for {name}", name]
    assert f"Status: Image is up to date for {name}" in pulled("pull", name)


def test_two_images_share_their_layers(pulled: Machine, registry: RegistryProcess, tmp_path: Path) -> None:
    base = busybox_layer()
    for number in ("1", "2"):
        layout = Layout(tmp_path / f"layout{number}")
        own = make_tar(File("number", number.encode()))
        registry.push(layout.finish(layout.put_image(base, own)), f"app:{number}")
    pulled("pull", f"{registry.address}/app:1")
    assert ": Already exists" in pulled("pull", f"{registry.address}/app:2")
    inode = ("stat", "-c", "%i", "/bin/busybox")
    first, second = (pulled("run", "--rm", f"{registry.address}/app:{number}", *inode) for number in "12")
    assert first == second
    pulled("rmi", f"{registry.address}/app:1")
    assert pulled("run", "--rm", f"{registry.address}/app:2", "cat", "/number") == "2"


def test_login(pulled: Machine, worker: Worker, layered: Path, tmp_path: Path) -> None:
    place = tmp_path / "closed"
    place.mkdir()
    line = subprocess.run(["htpasswd", "-Bbn", "ann", "secret"], capture_output=True, text=True, check=True).stdout
    with RegistryProcess(place, line) as registry:
        registry.push(layered, "app:1", "--dest-creds", "ann:secret")
        name = f"{registry.address}/app:1"
        assert "pull access denied" in pulled.fails(1, "pull", name)
        pulled("login", "-u", "ann", "--password-stdin", registry.address, stdin=b"secret")
        pulled("pull", name)
        pulled("logout", registry.address)
        pulled("rmi", name)
        assert "pull access denied" in pulled.fails(1, "pull", name)


def test_an_image_that_the_registry_lacks(pulled: Machine, registry: RegistryProcess) -> None:
    missing = pulled.attempt("pull", f"{registry.address}/nothing:1")
    assert (missing.code, missing.out) == (1, ""), "docker's clients want a status of 404, not a stream"
    assert "not found: manifest unknown: manifest unknown" in missing.err
    assert pulled.fails(125, "run", "--rm", f"{registry.address}/nothing:1", "true")


def test_a_corrupt_layer(pulled: Machine, registry: RegistryProcess, big: Path) -> None:
    registry.push(big, "big:1")
    largest = max(registry.blobs.glob("*/*/data"), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    complaint = pulled.fails(1, "pull", f"{registry.address}/big:1")
    assert "Traceback" not in complaint
    assert pulled.names_inside(f"{pulled.data}/tmp") == []


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """busybox and a layer of 20 MB that can't be compressed."""
    layout = Layout(tmp_path / "big")
    return layout.finish(layout.put_image(busybox_layer(), make_tar(File("big", os.urandom(20 << 20)))))


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.3])
def test_the_command_line_killed_in_pull(
    pulled: Machine, registry: RegistryProcess, tmp_path: Path, delay: float
) -> None:
    layout = Layout(tmp_path / "big")
    registry.push(
        layout.finish(layout.put_image(busybox_layer(), make_tar(File("big", os.urandom(20 << 20))))), "big:1"
    )
    name = f"{registry.address}/big:1"
    process = pulled.start("pull", name)
    time.sleep(delay)
    process.kill()
    process.communicate()
    wait_for(lambda: pulled.names_inside(f"{pulled.data}/tmp") == [], "the end of the unfinished pull")
    pulled("pull", name)
    assert pulled("run", "--rm", name, "stat", "-c", "%s", "/big") == str(20 << 20)
