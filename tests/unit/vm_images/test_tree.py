"""Packages into trees, trees into layers and archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from guest_agent.wire.errors import PeerMisbehaved
from tests.unit.vm_images.small_archive import EPOCH, make_ar, make_deb, make_tar
from vm_images.archive_file import Settings, encode_archive, encode_config, hash_layer
from vm_images.chunks import ChunkReader
from vm_images.debian.deb import ar_members, open_data, open_member
from vm_images.tree import Tree


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryFile() as spool:
        yield Tree(spool, EPOCH, [("bin", "usr/bin")])


def members(tree: Tree) -> dict[str, tarfile.TarInfo]:
    out = io.BytesIO()
    tree.write(out)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        return {member.name: member for member in archive}


def opened_tar(*infos: tarfile.TarInfo) -> tarfile.TarFile:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    out.seek(0)
    return tarfile.open(fileobj=out)


def info(name: str, type: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size, made.mtime = type, target, size, EPOCH + 9
    return made


def test_a_tree_is_sorted_clamped_and_whole(tree: Tree) -> None:
    tree.merge(opened_tar(info("./usr/share/b"), info("./a")))
    found = members(tree)
    assert list(found) == sorted(found)
    assert {"usr", "usr/share", "usr/share/b", "a"} <= set(found)
    assert all(member.mtime <= EPOCH and member.uname == "" for member in found.values())


def test_the_same_contents_give_the_same_bytes() -> None:
    written = []
    for order in (("a", "b"), ("b", "a")):
        with tempfile.TemporaryFile() as spool:
            tree = Tree(spool, EPOCH)
            for name in order:
                tree.add_file(name, name.encode())
            out = io.BytesIO()
            tree.write(out)
            written.append(out.getvalue())
    assert written[0] == written[1]


def test_merged_usr(tree: Tree) -> None:
    tree.merge(
        opened_tar(
            info("./bin", tarfile.DIRTYPE), info("./bin/sh", size=3), info("./bin/bash", tarfile.LNKTYPE, "./bin/sh")
        )
    )
    found = members(tree)
    assert found["bin"].issym()
    assert found["bin"].linkname == "usr/bin"
    assert "bin/sh" not in found
    assert found["usr/bin/bash"].isreg()  # first by name: the file that the link follows
    assert found["usr/bin/sh"].linkname == "usr/bin/bash"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "./.."])
def test_a_name_that_leads_outside_is_refused(tree: Tree, name: str) -> None:
    with pytest.raises(PeerMisbehaved, match="outside"):
        tree.merge(opened_tar(info(name)))


def test_a_hard_link_to_nothing_is_refused(tree: Tree) -> None:
    tree.merge(opened_tar(info("a", tarfile.LNKTYPE, "b")))
    with pytest.raises(PeerMisbehaved, match="links to 'b'"):
        members(tree)


def test_devices_stay_out(tree: Tree) -> None:
    tree.merge(opened_tar(info("dev/null", tarfile.CHRTYPE), info("pipe", tarfile.FIFOTYPE)))
    assert not {"dev/null", "pipe"} & set(members(tree))


def test_extended_attributes_are_kept(tree: Tree) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        ping = info("ping")
        ping.pax_headers = {"SCHILY.xattr.security.capability": "x", "comment": "y"}
        archive.addfile(ping)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        tree.merge(archive)
    assert members(tree)["ping"].pax_headers == {"SCHILY.xattr.security.capability": "x"}


def test_deb() -> None:
    with open_member(make_deb({"usr/bin/x": b"odd"}), "data.tar") as data:
        assert data.getnames() == ["./usr/bin/x"]
    assert list(ar_members(make_ar({"a": b"1", "b": b""}))) == ["a", "b"]


def test_zstd_deb() -> None:
    import zstandard

    packed = zstandard.ZstdCompressor().compress(make_tar({"x": b"1"}))
    with open_member(make_ar({"data.tar.zst": packed}), "data.tar") as data:
        assert data.getnames() == ["./x"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"!<arch>\n",
        make_deb({})[:-20],
        make_deb({})[:100],
        make_ar({"data.tar.lz": b""}),
        make_ar({"data.tar.gz": gzip.compress(make_tar({"x": b"1"}), mtime=0)[:-30]}),
        make_ar({"data.tar.xz": b"no"}),
    ],
)
def test_a_damaged_deb_is_one_clear_error(tmp_path: Path, tree: Tree, data: bytes) -> None:
    path = tmp_path / "x.deb"
    path.write_bytes(data)
    with pytest.raises(PeerMisbehaved, match="damaged package"), open_data(str(path)) as archive:
        tree.merge(archive)


def test_archive(tmp_path: Path) -> None:
    path = tmp_path / "layer.tar"
    path.write_bytes(make_tar({"x": b"1"}))
    layer = hash_layer(str(path))
    config = encode_config("amd64", EPOCH, Settings(("sh",), exposed=("80/tcp",), labels={"a": "b"}), layer, "test")
    chunks = encode_archive("team/web:1", config, layer)
    with tarfile.open(fileobj=ChunkReader(chunks), mode="r|") as archive:
        blobs = {member.name: _read(archive, member) for member in archive}
    for name in (name for name in blobs if name.startswith("blobs/")):
        assert hashlib.sha256(blobs[name]).hexdigest() == name.rpartition("/")[2]
    legacy = json.loads(blobs["manifest.json"])[0]
    assert legacy["RepoTags"] == ["team/web:1"]
    assert blobs[legacy["Layers"][0]] == path.read_bytes()
    read = json.loads(blobs[legacy["Config"]])
    assert read["rootfs"]["diff_ids"] == [layer.digest]
    assert read["config"] == {"Cmd": ["sh"], "Env": [], "ExposedPorts": {"80/tcp": {}}, "Labels": {"a": "b"}}
    (descriptor,) = json.loads(blobs["index.json"])["manifests"]
    assert descriptor["annotations"]["io.containerd.image.name"] == "docker.io/team/web:1"
    assert descriptor["digest"].replace(":", "/") in {name.removeprefix("blobs/") for name in blobs}


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()
