"""`hostvm bootstrap` against a signed archive of one package, whose busybox is the host's own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.harness.machine import Machine
from tests.unit.vm_images.conftest import make_key
from tests.unit.vm_images.small_archive import SmallArchive


@pytest.fixture
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallArchive]:
    home = make_key(tmp_path_factory.mktemp("key"))  # gpg-agent's socket wants a short path
    archive = SmallArchive(str(tmp_path_factory.mktemp("mirror")), home)
    archive.add("busybox-static", files={"bin/busybox": Path("/bin/busybox").read_bytes()})
    archive.publish()
    yield archive
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, timeout=60)


def test_a_lock_file_gives_the_same_image_again(machine: Machine, archive: SmallArchive, tmp_path: Path) -> None:
    """On an engine that has forgotten all about it, and when the archive has a newer version."""
    environment = {
        "HOSTVM_DEBIAN_MIRROR": archive.mirror,
        "HOSTVM_DEBIAN_KEYRING": f"{archive.gnupg}/keyring.gpg",
        "HOSTVM_CACHE": str(tmp_path / "cache"),
    }
    lock, sbom = tmp_path / "lock", tmp_path / "sbom.json"

    def bootstrap(*words: str) -> str:
        """The image's id, from an engine that doesn't have it."""
        machine.attempt("rmi", "--force", "locked")
        name = machine("bootstrap", "busybox", "--tag", "locked", *words, environment=environment)
        return machine("image", "inspect", "--format", "{{.Id}}", name)

    first = bootstrap("--lock", str(lock), "--sbom", str(sbom))
    assert machine("run", "--rm", "locked", "echo", "it runs") == "it runs"
    assert [(it["name"], it.get("versionInfo")) for it in json.loads(sbom.read_text())["packages"]] == [
        ("locked:latest", None),
        ("busybox-static", "1.0"),
    ]
    archive.add("busybox-static", files={"bin/busybox": Path("/bin/busybox").read_bytes()}, version="2.0")
    archive.publish()
    assert bootstrap("--lock", str(lock)) == first
    assert bootstrap() != first
    result = machine.attempt("bootstrap", "debian:trixie", "--lock", str(lock), environment=environment)
    assert (result.code, "is for bookworm on amd64, not for trixie" in result.err) == (1, True)
    machine("rmi", "--force", "locked")
