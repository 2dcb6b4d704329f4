"""Pulls from a real registry, filled by skopeo."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from guest_agent.wire.errors import InvalidArgument, NotFound, PeerMisbehaved, Unauthorized, Unavailable
from guest_agent.wire.models import Credentials

from .layouts import File, Layout, digest_of, folder, make_tar
from .registry_process import RegistryProcess
from .stores import Stores

BASE = make_tar(folder("./"), folder("etc/"), File("etc/os-release", b"ID=base\n"), File("etc/gone", b"x"))
TOP = make_tar(folder("etc/"), File("etc/.wh.gone"), File("etc/os-release", b"ID=top\n" * 5000))

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers are unpacked in a chroot: needs root")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryProcess]:
    (tmp_path / "registry").mkdir()
    with RegistryProcess(tmp_path / "registry") as process:
        yield process


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(tmp_path / "data")


def _layout(tmp_path: Path, *layers: bytes, kind: str = "gzip") -> Path:
    layout = Layout(tmp_path / f"layout-{kind}-{len(layers)}")
    return layout.finish(layout.put_image(*layers, kind=kind))


@pytest.mark.parametrize("kind", ["gzip", "zstd", "plain"])
def test_every_compression(registry: RegistryProcess, stores: Stores, tmp_path: Path, kind: str) -> None:
    registry.push(_layout(tmp_path, BASE, TOP, kind=kind), "lib/app:1", "--preserve-digests")
    lines = asyncio.run(stores.pull(f"{registry.address}/lib/app:1"))

    image = stores.images.find(f"{registry.address}/lib/app:1")
    assert [digest_of(BASE), digest_of(TOP)] == list(image.config.diff_ids)
    assert Path(stores.layers.path(image.config.diff_ids[1]), "etc/os-release").read_bytes() == b"ID=top\n" * 5000
    assert lines[0] == {"status": "Pulling from lib/app", "id": "1"}
    assert lines[-2]["status"].startswith("Digest: sha256:")
    assert lines[-1] == {"status": f"Status: Downloaded newer image for {registry.address}/lib/app:1"}
    assert image.digests == (f"{registry.address}/lib/app@{lines[-2]['status'].removeprefix('Digest: ')}",)
    assert stores.leftovers() == []


def test_docker_schema_2(registry: RegistryProcess, stores: Stores, tmp_path: Path) -> None:
    registry.push(_layout(tmp_path, BASE), "app:v2s2", "--format", "v2s2")
    asyncio.run(stores.pull(f"{registry.address}/app:v2s2"))
    assert stores.images.find(f"{registry.address}/app:v2s2").config.config.command == ("sh",)


def test_an_image_of_another_tool(registry: RegistryProcess, stores: Stores, tmp_path: Path) -> None:
    """umoci, buildah and docker all write through these formats; skopeo recompresses to docker's here."""
    registry.push(_layout(tmp_path, BASE, TOP), "app:re", "--format", "v2s2", "--dest-compress-format", "gzip")
    asyncio.run(stores.pull(f"{registry.address}/app:re"))
    assert len(stores.images.find(f"{registry.address}/app:re").config.diff_ids) == 2


def test_layers_are_shared(registry: RegistryProcess, stores: Stores, tmp_path: Path) -> None:
    registry.push(_layout(tmp_path, BASE), "base:1")
    registry.push(_layout(tmp_path, BASE, TOP), "top:1")
    asyncio.run(stores.pull(f"{registry.address}/base:1"))
    lines = asyncio.run(stores.pull(f"{registry.address}/top:1"))
    assert [line["status"] for line in lines].count("Already exists") == 1
    assert len(stores.layers.known()) == 2

    asyncio.run(stores.images.remove(f"{registry.address}/top:1", False, {}))
    assert stores.layers.known() == (digest_of(BASE),)
    asyncio.run(stores.images.remove(f"{registry.address}/base:1", False, {}))
    assert (stores.layers.known(), stores.leftovers()) == ((), [])


def test_up_to_date_and_after_a_restart(registry: RegistryProcess, stores: Stores, tmp_path: Path) -> None:
    registry.push(_layout(tmp_path, BASE), "base:1")
    asyncio.run(stores.pull(f"{registry.address}/base:1"))
    stores = stores.reopen()
    assert stores.warnings == []
    lines = asyncio.run(stores.pull(f"{registry.address}/base:1"))
    assert lines[-1] == {"status": f"Status: Image is up to date for {registry.address}/base:1"}
    assert len(lines) == 3, "where it's from, its digest and the status: no word of its layers"


def test_by_digest(registry: RegistryProcess, stores: Stores, tmp_path: Path) -> None:
    registry.push(_layout(tmp_path, BASE), "base:1", "--preserve-digests")
    lines = asyncio.run(stores.pull(f"{registry.address}/base:1"))
    digest = lines[-2]["status"].removeprefix("Digest: ")
    name = f"{registry.address}/base@{digest}"
    for number, asked in enumerate((name, f"{registry.address}/base:any@{digest}")):
        fresh = Stores(tmp_path / f"fresh{number}")
        lines = asyncio.run(fresh.pull(asked))
        assert (lines[0], lines[-1]["status"]) == (
            {"status": "Pulling from base", "id": name},
            f"Status: Downloaded newer image for {name}",
        )
        image = fresh.images.find(asked)
        assert (image.tags, image.digests) == ((), (name,)), "a tag beside the digest names nothing"


def test_platforms(registry: RegistryProcess, stores: Stores, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "list")
    images = [layout.put_image(BASE), layout.put_image(TOP, architecture="arm64")]
    registry.push(layout.finish_list(*images), "multi:1", "--all")
    asyncio.run(stores.pull(f"{registry.address}/multi:1", "linux/arm64/v8"))
    assert stores.images.find(f"{registry.address}/multi:1").config.architecture == "arm64"
    with pytest.raises(NotFound, match=r"no matching manifest for linux/s390x in the manifest list entries"):
        asyncio.run(stores.pull(f"{registry.address}/multi:1", "linux/s390x"))


def test_a_single_image_of_the_wrong_platform(registry: RegistryProcess, stores: Stores, tmp_path: Path) -> None:
    """docker takes it, and warns; a build doesn't."""
    registry.push(_layout(tmp_path, BASE), "base:1")
    name = f"{registry.address}/base:1"
    with pytest.raises(NotFound, match=r"its platform \(linux/amd64\) does not match"):
        asyncio.run(stores.pull(name, "linux/s390x", strict=True))
    assert stores.leftovers() == []
    *_, status, warning = (line["status"] for line in asyncio.run(stores.pull(name, "linux/s390x")))
    assert (status, stores.images.find(name).config.architecture) == (
        f"Status: Downloaded newer image for {name}",
        "amd64",
    )
    assert warning == (
        f"WARNING: image with reference {name} was found but its platform (linux/amd64) does not match the specified "
        "platform (linux/s390x)"
    )


@pytest.mark.parametrize("name", ["base:nope", "nowhere:1"])
def test_unknown(registry: RegistryProcess, stores: Stores, tmp_path: Path, name: str) -> None:
    registry.push(_layout(tmp_path, BASE), "base:1")
    with pytest.raises(NotFound, match=f"manifest for {registry.address}/{name} not found: manifest unknown: "):
        asyncio.run(stores.pull(f"{registry.address}/{name}"))


def test_malformed(stores: Stores) -> None:
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        asyncio.run(stores.pull("UPPER case"))


def test_nobody_answers(stores: Stores) -> None:
    with pytest.raises(Unavailable, match=r"dial tcp 127.0.0.1:1: connect: connection refused") as caught:
        asyncio.run(stores.pull("127.0.0.1:1/x"))
    assert "hostvm bootstrap" in caught.value.hint


def test_basic_authorization(stores: Stores, tmp_path: Path) -> None:
    line = subprocess.run(["htpasswd", "-Bbn", "ann", "secret"], capture_output=True, text=True)
    if line.returncode:
        pytest.skip("htpasswd isn't installed")
    (tmp_path / "closed").mkdir()
    with RegistryProcess(tmp_path / "closed", line.stdout) as registry:
        registry.push(_layout(tmp_path, BASE), "base:1", "--dest-creds", "ann:secret")
        with pytest.raises(Unauthorized, match=r"pull access denied for .*base, repository does not exist or may"):
            asyncio.run(stores.pull(f"{registry.address}/base:1"))
        with pytest.raises(Unauthorized):
            asyncio.run(stores.pull(f"{registry.address}/base:1", credentials=Credentials("ann", "wrong")))
        asyncio.run(stores.pull(f"{registry.address}/base:1", credentials=Credentials("ann", "secret")))
    assert stores.images.find(f"{registry.address}/base:1")


@pytest.mark.parametrize("damage", ["flip", "truncate", "append"])
def test_damaged_layer(registry: RegistryProcess, stores: Stores, tmp_path: Path, damage: str) -> None:
    layout = Layout(tmp_path / "layout")
    registry.push(layout.finish(layout.put_image(BASE, TOP)), "app:1", "--preserve-digests")
    path = registry.blob_file(_largest_layer(layout))
    data = path.read_bytes()
    middle = len(data) // 2
    damaged = {"flip": data[:middle] + b"\xff" + data[middle + 1 :], "truncate": data[:middle], "append": data + b"x"}
    path.write_bytes(damaged[damage])
    with pytest.raises(PeerMisbehaved) as caught:
        asyncio.run(stores.pull(f"{registry.address}/app:1"))
    expected = "unexpected EOF after" if damage == "truncate" else "filesystem layer verification failed for digest"
    assert expected in caught.value.message and "\n" not in caught.value.message
    assert (stores.images.all(), stores.layers.known(), stores.leftovers()) == ((), (), [])
    path.write_bytes(data)
    asyncio.run(stores.pull(f"{registry.address}/app:1"))


def _largest_layer(layout: Layout) -> str:
    blobs = (layout.root / "blobs/sha256").iterdir()
    layers = [blob for blob in blobs if blob.read_bytes()[:2] == b"\x1f\x8b"]
    return "sha256:" + max(layers, key=lambda blob: blob.stat().st_size).name
