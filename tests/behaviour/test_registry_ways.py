"""Registries as users meet them: mirrors, plain HTTP by configuration, bad lines, limits, keyrings."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.conftest import MachineMaker, Project
from tests.behaviour.harness.machine import DOCKER, Machine
from tests.behaviour.harness.worker import OWN_ADDRESS, Worker
from tests.behaviour.images.cutting_proxy import CuttingProxy
from tests.behaviour.images.layouts import File, make_tar
from tests.behaviour.images.registry_process import RegistryProcess
from tests.behaviour.images.unruly_registry import UnrulyRegistry


@pytest.fixture
def registry(worker: Worker, tmp_path: Path) -> Iterator[RegistryProcess]:
    place = tmp_path / "registry"
    place.mkdir()
    with RegistryProcess(place) as process:
        yield process


@pytest.fixture
def closed(worker: Worker, tmp_path: Path) -> Iterator[RegistryProcess]:
    """One that knows ann alone, with the password `secret`."""
    place = tmp_path / "closed"
    place.mkdir()
    line = subprocess.run(["htpasswd", "-Bbn", "ann", "secret"], capture_output=True, text=True, check=True).stdout
    with RegistryProcess(place, line) as process:
        yield process


def digest_in(pushed: str) -> str:
    """Of the last line of a push: "1: digest: sha256:… size: 528"."""
    return pushed.splitlines()[-1].split()[2]


def test_mirrors_and_plain_http_are_configured(
    fresh_machine: MachineMaker, registry: RegistryProcess, worker: Worker
) -> None:
    """A mirror is asked first, and sees no credentials; a host is spoken to in plain HTTP where it is named only."""
    machine = fresh_machine("busybox")
    machine("tag", "busybox", f"{registry.address}/library/app:1")
    machine("push", "-q", f"{registry.address}/library/app:1")
    with UnrulyRegistry(OWN_ADDRESS) as open_one:
        complaint = machine.fails(1, "pull", f"{open_one.address}/x:1")
        assert f'Get "http://{open_one.address}' not in complaint and open_one.requests == []
        assert "no such manifest" not in machine.fails(1, "manifest", "inspect", f"{open_one.address}/x:1")
        assert json.loads(machine("manifest", "inspect", "--insecure", f"{open_one.address}/x:1"))["layers"]
        created = machine("manifest", "create", "--insecure", f"{open_one.address}/list:1", f"{open_one.address}/x:1")
        assert created == f"Created manifest list {open_one.address}/list:1"
        machine("manifest", "rm", f"{open_one.address}/list:1")
        machine.stop()
        mirrors = f'"docker.io" = ["http://{registry.address}"]\n"gone.test" = ["http://{open_one.address}"]'
        machine.configure(f'[registries]\ninsecure = ["{open_one.address}"]\n[registries.mirrors]\n{mirrors}\n')
        assert "Downloaded newer image for app:1" in machine("pull", "app:1")
        machine("pull", "-q", f"{open_one.address}/x:1")
        config = Path(machine.environment["DOCKER_CONFIG"]) / "config.json"
        config.parent.mkdir(exist_ok=True)
        config.write_text(json.dumps({"auths": {"gone.test": {"auth": "YW5uOnNlY3JldA=="}}}))
        open_one.behave, open_one.requests = {"token"}, []
        assert "gone.test" in machine.fails(1, "pull", "gone.test/x:1")
        assert {shown for _, _, shown in open_one.requests} == {""}, "ann's password is for gone.test alone"
    machine("rmi", "app:1", f"{open_one.address}/x:1")


def test_an_upload_survives_a_broken_line(machine: Machine, registry: RegistryProcess, tmp_path: Path) -> None:
    """Debian's registry forgets an upload whose request broke off, so the layer begins anew.

    Of one that keeps it, as the specification has it, see tests/unit/images/test_upload.py.
    """
    size = 6 << 20
    (tmp_path / "root.tar").write_bytes(make_tar(File("noise", os.urandom(size))))
    with CuttingProxy(registry.port, size // 2, cuts=1) as proxy:
        name = f"{proxy.address}/noise:1"
        machine("import", str(tmp_path / "root.tar"), name)
        assert "1: digest: sha256:" in machine("push", name)
        assert proxy.cuts == 0
        image = machine("images", "-q", "--no-trunc", name)
        machine("rmi", name)
        machine("pull", "-q", name)
        assert machine("images", "-q", "--no-trunc", name) == image
        machine("rmi", name)


def test_names_of_a_push(machine: Machine, registry: RegistryProcess, project: Project) -> None:
    """A layer of another repository is mounted, all tags go at once, zstd on request, and a digest is a name."""
    one, two = f"{registry.address}/team/one", f"{registry.address}/team/two"
    for name in (f"{one}:1", f"{one}:2", f"{two}:1"):
        machine("tag", "busybox", name)
    out = machine("push", "--all-tags", one)
    assert [line.split(":")[0] for line in out.splitlines() if ": digest: " in line] == ["1", "2"]
    assert "tag can't be used with --all-tags" in machine.fails(1, "push", "-a", f"{one}:1")
    assert ": Mounted from team/one" in machine("push", f"{two}:1")
    digest = digest_in(machine("push", "--compression-format", "zstd", f"{two}:1"))
    (layer,) = json.loads(machine("manifest", "inspect", f"{two}:1"))["layers"]
    assert layer["mediaType"].endswith("+zstd")
    machine("rmi", f"{one}:1", f"{one}:2", f"{two}:1")
    statuses = [line for line in machine("pull", "-a", one).splitlines() if line.startswith("Status: ")]
    assert statuses == [f"Status: Downloaded newer image for {one}"]
    assert sorted(machine("images", "--format", "{{.Tag}}", one).split()) == ["1", "2"]
    name = f"{two}@{digest}"
    assert f"Digest: {digest}" in machine.docker("pull", name)
    assert machine("run", "--rm", name, "echo", "by digest") == "by digest"
    machine("build", "-q", "-t", "upon", project(f"FROM {name}\nCMD echo upon"))
    assert machine("run", "--rm", "upon") == "upon"
    machine("rmi", "upon", name, f"{one}:1", f"{one}:2")


def test_limits_and_detours(machine: Machine, worker: Worker) -> None:
    """Patience where a minute is enough, an error where it isn't; blobs on another host; a line that breaks."""
    with UnrulyRegistry() as registry:
        name = f"{registry.address}/team/app:1"
        registry.behave = {"rate", "redirect", "cut"}
        machine("pull", "-q", name)
        assert not registry.behave & {"rate", "cut"} and any("/cdn/" in path for path, _, _ in registry.requests)
        machine("rmi", name)
        registry.behave = {"rate", "hours"}
        assert "toomanyrequests: slow down" in machine.fails(1, "pull", name)
        registry.behave = {"gone"}
        assert "unexpected EOF" in machine.fails(1, "pull", name)


HELPER = """#!/bin/sh
# Keeps one secret for each registry in a folder, as docker-credential-pass would.
cd {folder}
case $1 in
store)
    cat > entry
    server=$(sed 's/.*"ServerURL": *"\\([^"]*\\)".*/\\1/' entry)
    mv entry "$(echo "$server" | tr / _)";;
get) read -r server; file=$(echo "$server" | tr / _)
    [ -e "$file" ] || {{ echo credentials not found in native keychain; exit 1; }}; cat "$file";;
erase) read -r server; rm "$(echo "$server" | tr / _)";;
list) echo '{{}}';;
esac
"""


def test_a_keyring_keeps_the_password(machine: Machine, closed: RegistryProcess, tmp_path: Path) -> None:
    """config.json names a helper: ours and docker's command line both store, get and erase with it."""
    programs, kept = tmp_path / "programs", tmp_path / "kept"
    for folder in (programs, kept):
        folder.mkdir()
    (programs / "docker-credential-fake").write_text(HELPER.format(folder=kept))
    (programs / "docker-credential-fake").chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "DOCKER_CONFIG": str(tmp_path / "docker")}
    config = tmp_path / "docker/config.json"
    config.parent.mkdir()
    config.write_text('{"credsStore": "fake"}')
    name = f"{closed.address}/app:1"
    machine("tag", "busybox", name)
    login = ("login", "-u", "ann", "--password-stdin", closed.address)
    machine(*login, stdin=b"secret", environment=environment)
    assert json.loads((kept / closed.address).read_text())["Secret"] == "secret"
    assert "secret" not in config.read_text() and "YW5u" not in config.read_text()
    machine("push", "-q", name, environment=environment)
    for words in (["push", "-q", name], ["pull", "-q", name]):
        assert machine.command([DOCKER, *words], environment).code == 0, "docker finds what we have kept"
    assert machine("logout", closed.address, environment=environment).startswith("Removing login credentials")
    assert not list(kept.iterdir())
    refused = machine.attempt("push", "-q", name, environment=environment)
    assert (refused.code, "no basic auth credentials" in refused.err) == (1, True)
    machine("rmi", name)


def test_prune_takes_what_the_filters_say(fresh_machine: MachineMaker, tmp_path: Path) -> None:
    machine = fresh_machine("busybox")
    root = tmp_path / "root.tar"
    for number, label in enumerate(("keep=yes", "keep=no", "other=1")):
        root.write_bytes(make_tar(File("hello", str(number).encode())))
        machine("import", "-c", f"LABEL {label}", str(root), f"image:{number}")

    def prune(*filters: str) -> set[str]:
        before = set(machine("images", "--format", "{{.Repository}}:{{.Tag}}").split())
        machine("image", "prune", "-af", *(word for one in filters for word in ("--filter", one)))
        return before - set(machine("images", "--format", "{{.Repository}}:{{.Tag}}").split())

    assert prune("until=1h") - {"busybox:latest"} == set()
    assert prune("label=keep=yes") == {"image:0"}
    assert prune("label!=keep") == {"image:2"}
    assert "invalid filter 'size'" in machine.fails(1, "image", "prune", "-f", "--filter", "size=1")
    machine("image", "prune", "-f")
    assert prune("label=keep") == {"image:1"}, "which isn't dangling"
