"""Archives that skopeo writes, and images made from a layer."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from guest_agent.images.archive import load
from guest_agent.images.make import Recipe, make_image
from guest_agent.wire.errors import DataDamaged, HostvmError, PeerMisbehaved
from guest_agent.wire.models import ContainerConfig

from .layouts import File, Layout, digest_of, folder, make_tar
from .stores import Stores

BASE = make_tar(folder("./"), folder("etc/"), File("etc/os-release", b"ID=base\n"), File("etc/gone", b"x"))
TOP = make_tar(folder("etc/"), File("etc/.wh.gone"), File("etc/motd", b"hello\n"))
BIG = make_tar(File("big", os.urandom(5 << 20)))

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers are unpacked in a chroot: needs root")


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(tmp_path / "data")


async def _chunks(data: bytes, size: int = 60_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def _load(stores: Stores, data: bytes) -> list[str]:
    return [line["stream"] async for line in load(stores.images, _chunks(data)) if "stream" in line]


def _archive(tmp_path: Path, form: str, *layers: bytes) -> bytes:
    layout = Layout(tmp_path / f"layout-{form}")
    source = layout.finish(layout.put_image(*layers))
    target = tmp_path / f"{form}.tar"
    argv = ["skopeo", "--insecure-policy", "copy", f"oci:{source}", f"{form}:{target}:example.org/app:1"]
    subprocess.run(argv, check=True, capture_output=True)
    return target.read_bytes()


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_load(stores: Stores, tmp_path: Path, form: str) -> None:
    lines = asyncio.run(_load(stores, _archive(tmp_path, form, BASE, TOP, BIG)))
    assert lines == ["Loaded image: example.org/app:1\n"]
    diff_ids = stores.images.find("example.org/app:1").config.diff_ids
    assert list(diff_ids) == [digest_of(layer) for layer in (BASE, TOP, BIG)]
    assert "etc/motd" in stores.tree(diff_ids[1])
    assert stores.leftovers() == []


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_archive(stores: Stores, tmp_path: Path, share: float) -> None:
    data = _archive(tmp_path, "docker-archive", BASE, BIG)
    with pytest.raises(PeerMisbehaved, match="can't be read: unexpected end of the archive"):
        asyncio.run(_load(stores, data[: int(len(data) * share)]))
    assert (stores.images.all(), stores.leftovers()) == ((), [])


@pytest.mark.parametrize("data", [b"", b"hello", b"x" * 5000, make_tar(File("a", b"b"))])
def test_not_an_archive(stores: Stores, data: bytes) -> None:
    with pytest.raises(PeerMisbehaved, match="the archive"):
        asyncio.run(_load(stores, data))
    assert stores.leftovers() == []


def test_import_commit_and_export(stores: Stores, tmp_path: Path) -> None:
    base = asyncio.run(make_image(stores.images, Recipe(ContainerConfig(command=("sh",)), "base"), _chunks(BASE)))
    parent = stores.images.get(base).config
    upper = tmp_path / "upper"
    (upper / "etc").mkdir(parents=True)
    (upper / "etc/motd").write_text("hello\n")
    os.mknod(upper / "etc/gone", 0o20000, 0)
    (upper / "new").mkdir()
    os.setxattr(upper / "new", "trusted.overlay.opaque", b"y")
    os.setxattr(upper / "etc/motd", "user.note", b"\xff\x00binary")
    os.link(upper / "etc/motd", upper / "again")

    recipe = Recipe(parent.config, "made:2", parent, created_by="/bin/sh", author="ann")
    made = stores.images.get(asyncio.run(make_image(stores.images, recipe, stores.layers.diff(os.fspath(upper)))))
    root = Path(stores.layers.path(made.config.diff_ids[1]))
    assert made.config.diff_ids[0] == parent.diff_ids[0]
    assert made.parent == base and made.config.history[-1].created_by == "/bin/sh"
    assert os.lstat(root / "etc/gone").st_rdev == 0 and os.getxattr(root / "new", "trusted.overlay.opaque") == b"y"
    assert os.getxattr(root / "etc/motd", "user.note") == b"\xff\x00binary"
    assert os.lstat(root / "again").st_ino == os.lstat(root / "etc/motd").st_ino


def test_export_is_a_tar_that_others_read(stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "root/sub").mkdir(parents=True)
    (tmp_path / "root/sub" / ("x" * 200)).write_bytes(b"content" * 1000)
    (tmp_path / "root/link").symlink_to("/etc/passwd")

    async def collect() -> bytes:
        return b"".join([piece async for piece in stores.layers.export(os.fspath(tmp_path / "root"))])

    with tarfile.open(fileobj=io.BytesIO(asyncio.run(collect()))) as archive:
        assert sorted(archive.getnames()) == [".", "link", "sub", "sub/" + "x" * 200]
        assert archive.getmember("link").linkname == "/etc/passwd"


def test_import_of_something_else(stores: Stores) -> None:
    with pytest.raises(HostvmError, match="failed to register layer: invalid tar header"):
        asyncio.run(make_image(stores.images, Recipe(ContainerConfig(), "x"), _chunks(b"y" * 4096)))
    assert (stores.images.all(), stores.leftovers()) == ((), [])


def test_the_tar_of_a_layer_comes_back(stores: Stores) -> None:
    """Byte by byte, whatever wrote it: names twice, folders that become files, whiteouts with content, padding."""
    twice = make_tar(File("d/f", b"first"), File("d/f", b"second"), File("d/.wh.g", b"ignored"), File("h", b"x" * 1000))
    buried = make_tar(File("d/f", b"first"), File("e/f", b"kept")) + bytes(10240)
    for name, layer in (("base", BASE), ("big", BIG), ("twice", twice), ("buried", buried)):
        image_id = asyncio.run(make_image(stores.images, Recipe(ContainerConfig(), name), _chunks(layer, 700)))
        diff_id = stores.images.get(image_id).config.diff_ids[0]
        assert b"".join(stores.layers.tar(diff_id)) == layer
        assert stores.layers.tar_size(diff_id) == len(layer)
    assert stores.leftovers() == []


def test_a_damaged_layer_is_found(stores: Stores) -> None:
    image_id = asyncio.run(make_image(stores.images, Recipe(ContainerConfig(), "base"), _chunks(BASE)))
    diff_id = stores.images.get(image_id).config.diff_ids[0]
    release = Path(stores.layers.path(diff_id)) / "etc/os-release"
    for damage, complaint in ((b"ID=bose\n", "its digest is"), (b"ID", "hasn't its 8 bytes"), (None, "is missing")):
        release.unlink()
        if damage is not None:
            release.write_bytes(damage)
        with pytest.raises(DataDamaged, match=complaint):
            b"".join(stores.layers.tar(diff_id))
        release.touch()


def _swap_link(tree: Path) -> None:
    (tree / "etc/link").unlink()
    (tree / "etc/link").symlink_to("/")


def _break_hard_link(tree: Path) -> None:
    (tree / "etc/more").unlink()
    shutil.copy2(tree / "etc/conf", tree / "etc/more")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tree: (tree / "etc/conf").chmod(0o666), '"etc/conf" has another mode'),
        (lambda tree: (tree / "etc").chmod(0o777), '"etc" has another mode'),
        (lambda tree: tree.chmod(0o700), '"." has another mode'),
        (lambda tree: os.chown(tree / "etc/conf", 5, 5), '"etc/conf" has another owner'),
        (lambda tree: os.utime(tree / "etc/conf", (1, 1)), '"etc/conf" has another time'),
        (lambda tree: os.setxattr(tree / "etc/conf", "user.x", b"y"), '"etc/conf" has another extended attribute'),
        (lambda tree: os.setxattr(tree / "etc", "trusted.overlay.redirect", b"/"), '"etc" has another extended'),
        (lambda tree: (tree / "etc/empty").write_bytes(b"x"), '"etc/empty" has another size'),
        (lambda tree: (tree / "etc/gone").unlink(), '"etc/gone" is missing'),
        (lambda tree: (tree / "zzz").mkdir(), '"zzz" is no part of it'),
        (lambda tree: (tree / "etc/\n\udcff").touch(), '"etc/\\x0a\\xff" is no part of it'),
        (_swap_link, '"etc/link" has another target'),
        (_break_hard_link, '"etc/conf" has another hard link'),
    ],
)  # fmt: skip
def test_a_tree_that_is_not_its_tar(stores: Stores, damage: Callable[[Path], object], message: str) -> None:
    """The tar has the digest that it should have: what isn't a file's content comes from the outline."""
    links = File("etc/link", type=tarfile.SYMTYPE, link="conf"), File("etc/more", type=tarfile.LNKTYPE, link="etc/conf")
    layer = make_tar(folder("etc"), File("etc/conf", b"1"), *links, File("etc/.wh.gone"), File("etc/empty"))
    asyncio.run(make_image(stores.images, Recipe(ContainerConfig(), "base"), _chunks(layer)))
    (diff_id,) = stores.layers.known()
    stores.layers.verify(diff_id)
    damage(Path(stores.layers.path(diff_id)))
    assert b"".join(stores.layers.tar(diff_id)) == layer
    with pytest.raises(DataDamaged) as caught:
        stores.layers.verify(diff_id)
    assert f"layer {diff_id} is damaged: {message}" in caught.value.message
    assert stores.leftovers() == []


def test_a_crash_between_a_layer_and_its_image(stores: Stores) -> None:
    """Layer and outline are in their places, and no record tells of them: the next engine removes both."""
    staging = stores.layers.stage()
    unpacker = staging.unpacker()
    unpacker.write(BASE)
    unpacker.finish()
    assert len(stores.leftovers()) == 2
    assert stores.reopen().leftovers() == []
