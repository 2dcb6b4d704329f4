"""Push to a real registry, and archives that others read: what comes back is byte by byte what went."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import tarfile
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from guest_agent.images.archive import load
from guest_agent.images.artefacts import send_artefact
from guest_agent.images.compress import Compression
from guest_agent.images.make import Recipe, make_image
from guest_agent.images.push import push
from guest_agent.images.reference import parse_reference
from guest_agent.images.save import choose_images, save
from guest_agent.wire.errors import HostvmError, NotFound, Unauthorized
from guest_agent.wire.models import ContainerConfig, Credentials, Digest, ImageId

from .layouts import File, Layout, folder, make_tar
from .registry_process import RegistryProcess
from .stores import QUICK, Stores

BASE = make_tar(folder("./"), folder("etc/"), File("etc/os-release", b"ID=base\n"))
TOP = make_tar(folder("etc/"), File("etc/.wh.os-release"), File("etc/motd", b"hello\n"))
BIG = make_tar(File("big", os.urandom(3 << 20)))

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers are unpacked in a chroot: needs root")


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(tmp_path / "data")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryProcess]:
    place = tmp_path / "registry"
    place.mkdir()
    with RegistryProcess(place) as process:
        yield process


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _make(stores: Stores, name: str, layer: bytes = BASE) -> str:
    return asyncio.run(make_image(stores.images, Recipe(ContainerConfig(command=("sh",)), name), _once(layer)))


def _push(stores: Stores, name: str, credentials: Credentials | None = None, **options: Any) -> list[Any]:
    async def collect() -> list[Any]:
        reference = parse_reference(name)
        return [line async for line in push(stores.images, reference, QUICK, credentials, **options)]

    return asyncio.run(collect())


def _states(lines: list[Any], *wanted: str) -> list[str]:
    return [line["status"] for line in lines if str(line.get("status", "")).startswith(wanted)]


def _save(stores: Stores, *names: str) -> bytes:
    async def collect() -> bytes:
        return b"".join([piece async for piece in save(stores.images, choose_images(stores.images, names))])

    return asyncio.run(collect())


def _load(stores: Stores, data: bytes) -> list[str]:
    async def collect() -> list[str]:
        return [line["stream"] async for line in load(stores.images, _once(data)) if "stream" in line]

    return asyncio.run(collect())


# -- push


def test_what_was_pushed_is_pulled_elsewhere(stores: Stores, registry: RegistryProcess, tmp_path: Path) -> None:
    name = f"{registry.address}/team/app:1"
    image_id = _make(stores, name, BIG)
    lines = _push(stores, name)
    assert lines[0] == {"status": f"The push refers to repository [{registry.address}/team/app]"}
    assert _states(lines, "Preparing", "Pushed") == ["Preparing", "Pushed"]
    digest = lines[-1]["aux"]["Digest"]
    assert lines[-2]["status"] == f"1: digest: {digest} size: {lines[-1]['aux']['Size']}"
    assert stores.images.get(image_id).digests == (f"{registry.address}/team/app@{digest}",)  # type: ignore[arg-type]
    other = Stores(tmp_path / "other")
    asyncio.run(other.pull(name))
    assert other.images.find(name).config.id == image_id
    argv = ["skopeo", "inspect", "--tls-verify=false", f"docker://{name}"]
    assert json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)["Digest"] == digest


def test_layers_that_are_there_are_not_sent(stores: Stores, registry: RegistryProcess) -> None:
    """Also those of another repository: they are mounted."""
    name = f"{registry.address}/app:1"
    _make(stores, name)
    first = _push(stores, name)
    assert _states(_push(stores, name), "Layer", "Pushed", "Mounted") == ["Layer already exists"]
    stores.images.tag(name, f"{registry.address}/other/app:2")
    again = _push(stores, f"{registry.address}/other/app")
    assert _states(again, "Layer", "Pushed", "Mounted") == ["Mounted from app"]
    assert again[-1]["aux"]["Digest"] == first[-1]["aux"]["Digest"]


def test_what_is_attached_goes_along(stores: Stores, registry: RegistryProcess) -> None:
    """Debian's registry lists no artefacts itself: two of them are found by the referrers tag, however often sent."""
    name = f"{registry.address}/app:1"
    image_id = ImageId(_make(stores, name))
    for kind in ("application/spdx+json", "text/x-other"):
        asyncio.run(stores.images.records.attach(image_id, kind, kind.encode()))
        _push(stores, name)
    digest = _push(stores, name)[-1]["aux"]["Digest"]

    address = f"http://{registry.address}/v2/app/manifests/{digest.replace(':', '-')}"
    asked = urllib.request.Request(address, headers={"Accept": "application/vnd.oci.image.index.v1+json"})
    with urllib.request.urlopen(asked) as answer:
        index = json.load(answer)
    assert sorted(entry["artifactType"] for entry in index["manifests"]) == ["application/spdx+json", "text/x-other"]
    for entry in index["manifests"]:
        artefact = json.loads(registry.blob_file(entry["digest"]).read_bytes())
        assert artefact["subject"]["digest"] == digest
        (layer,) = artefact["layers"]
        assert registry.blob_file(layer["digest"]).read_bytes() == entry["artifactType"].encode()


def test_an_image_that_is_removed_while_it_is_pushed(
    stores: Stores, registry: RegistryProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is pushed all the same; what can't follow it any more is told, and no name is left here."""
    name = f"{registry.address}/app:1"
    image_id = ImageId(_make(stores, name))
    for kind in ("text/x-first", "text/x-second"):
        asyncio.run(stores.images.records.attach(image_id, kind, kind.encode()))

    async def push_and_remove() -> list[Any]:
        loop = asyncio.get_running_loop()

        def send_and_remove(*arguments: Any) -> Digest:
            asyncio.run_coroutine_threadsafe(stores.images.remove(name, False, {}), loop).result()
            return send_artefact(*arguments)

        monkeypatch.setattr("guest_agent.images.push.send_artefact", send_and_remove)
        return [line async for line in push(stores.images, parse_reference(name), QUICK)]

    lines = asyncio.run(push_and_remove())
    (warning,) = _states(lines, "warning:")
    assert warning.startswith("warning: the text/x-second beside the image isn't pushed: content sha256:")
    assert len(_states(lines, "text/x-first: digest: ")) == 1 and "aux" in lines[-1]
    assert stores.images.names.recorded(image_id) == []
    asyncio.run(stores.pull(name))
    assert stores.images.find(name).config.id == image_id


def test_a_pulled_image_keeps_its_digest(stores: Stores, registry: RegistryProcess, tmp_path: Path) -> None:
    """Its manifest isn't written as we would: skopeo made it, and it goes out as it came."""
    layout = Layout(tmp_path / "layout")
    registry.push(layout.finish(layout.put_image(BASE, TOP)), "app:1")
    asyncio.run(stores.pull(f"{registry.address}/app:1"))
    pulled = stores.images.find(f"{registry.address}/app:1")
    stores.images.tag(f"{registry.address}/app:1", f"{registry.address}/copy:1")
    lines = _push(stores, f"{registry.address}/copy:1")
    assert _states(lines, "Mounted", "Pushed") == ["Mounted from app"] * 2
    assert pulled.digests == (f"{registry.address}/app@{lines[-1]['aux']['Digest']}",)


def test_a_layer_that_is_gone_there_is_packed_again(stores: Stores, registry: RegistryProcess, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    registry.push(layout.finish(layout.put_image(BASE, TOP)), "app:1")
    asyncio.run(stores.pull(f"{registry.address}/app:1"))
    image_id = stores.images.find(f"{registry.address}/app:1").config.id
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    with RegistryProcess(fresh) as second:
        name = f"{second.address}/moved:1"
        stores.images.tag(f"{registry.address}/app:1", name)
        assert _states(_push(stores, name), "Pushed") == ["Pushed"] * 2
        other = Stores(tmp_path / "other")
        asyncio.run(other.pull(name))
        assert other.images.find(name).config.id == image_id


def test_zstd(stores: Stores, registry: RegistryProcess, tmp_path: Path) -> None:
    name = f"{registry.address}/app:z"
    image_id = _make(stores, name)
    _push(stores, name)
    assert _states(_push(stores, name, compression=Compression.ZSTD), "Pushed") == ["Pushed"]
    argv = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}"]
    layers = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)["layers"]
    assert [layer["mediaType"] for layer in layers] == ["application/vnd.oci.image.layer.v1.tar+zstd"]
    other = Stores(tmp_path / "other")
    asyncio.run(other.pull(name))
    assert other.images.find(name).config.id == image_id


def test_all_tags_and_none(stores: Stores, registry: RegistryProcess) -> None:
    name = f"{registry.address}/app"
    with pytest.raises(NotFound, match=f"^An image does not exist locally with the tag: {name}$"):
        _push(stores, f"{name}:1")
    _make(stores, f"{name}:1")
    stores.images.tag(f"{name}:1", f"{name}:2")
    with pytest.raises(NotFound, match=f"^tag does not exist: {name}:3$"):
        _push(stores, f"{name}:3")
    assert [line["aux"]["Tag"] for line in _push(stores, name) if "aux" in line] == ["1", "2"]


def test_a_push_needs_its_credentials(stores: Stores, tmp_path: Path) -> None:
    place = tmp_path / "closed"
    place.mkdir()
    line = subprocess.run(["htpasswd", "-Bbn", "ann", "secret"], capture_output=True, text=True, check=True).stdout
    with RegistryProcess(place, line) as registry:
        name = f"{registry.address}/app:1"
        _make(stores, name)
        for wrong in (None, Credentials("ann", "guess")):
            with pytest.raises(Unauthorized):
                _push(stores, name, wrong)
        assert "aux" in _push(stores, name, Credentials("ann", "secret"))[-1]


# -- save


def _members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = [member for member in archive if member.isfile()]
        return {member.name: archive.extractfile(member).read() for member in files}  # type: ignore[union-attr]


def test_save_and_load(stores: Stores, tmp_path: Path) -> None:
    ids = {_make(stores, "app:1", BASE), _make(stores, "app:2", BIG)}
    stores.images.tag("app:1", "other:1")
    data = _save(stores, "app", "other:1")
    members = _members(data)
    listed = {tuple(item["RepoTags"]): item for item in json.loads(members["manifest.json"])}
    assert set(listed) == {("app:1", "other:1"), ("app:2",)}
    assert members[listed[("app:1", "other:1")]["Layers"][0]] == BASE
    assert set(json.loads(members["repositories"])) == {"app", "other"}
    assert len(json.loads(members["index.json"])["manifests"]) == 3
    other = Stores(tmp_path / "other")
    assert sorted(_load(other, data)) == [f"Loaded image: {name}\n" for name in ("app:1", "app:2", "other:1")]
    assert {image.config.id for image in other.images.all()} == ids
    assert _load(other, data) == _load(other, data)
    assert other.leftovers() == []


def test_save_by_id_has_no_names(stores: Stores, tmp_path: Path) -> None:
    image_id = _make(stores, "app:1")
    data = _save(stores, image_id[:20])
    other = Stores(tmp_path / "other")
    assert _load(other, data) == [f"Loaded image ID: {image_id}\n"]
    with pytest.raises(HostvmError, match=r"^(No such image: nosuch|reference does not exist)"):
        _save(stores, "nosuch")


def test_skopeo_reads_what_was_saved(stores: Stores, tmp_path: Path) -> None:
    _make(stores, "app:1")
    path = tmp_path / "saved.tar"
    path.write_bytes(_save(stores, "app:1"))
    for source in (f"docker-archive:{path}:app:1", f"oci-archive:{path}"):
        argv = ["skopeo", "--insecure-policy", "copy", source, f"oci:{tmp_path}/copy"]
        subprocess.run(argv, check=True, capture_output=True)


def test_an_old_name_of_a_loaded_image(stores: Stores) -> None:
    first = _make(stores, "app:1")
    data = _save(stores, "app:1")
    second = _make(stores, "app:1", BIG)
    moved = f"The image app:1 already exists, renaming the old one with ID {second} to empty string\n"
    assert _load(stores, data) == [moved, "Loaded image: app:1\n"]
    assert stores.images.find("app:1").config.id == first
