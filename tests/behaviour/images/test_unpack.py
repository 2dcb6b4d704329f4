"""Layers against the kernel: hostile tars, whiteouts seen through a real overlay mount, a full disk, kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guest_agent.wire.errors import HostFailed, HostvmError, PeerMisbehaved
from guest_agent.wire.models import DiffId

from .layouts import File, folder, make_tar
from .stores import Stores

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers are unpacked in a chroot: needs root")


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(tmp_path / "data")


def _add(stores: Stores, data: bytes) -> DiffId:
    staging = stores.layers.stage()
    try:
        unpacker = staging.unpacker()
        try:
            unpacker.write(data)
            diff_id = unpacker.finish()
        finally:
            unpacker.abort()
        staging.publish()
        with stores.records.transaction():
            staging.record()
        staging.recorded()
        return diff_id
    finally:
        staging.close()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([File("../evil", b"x")], 'failed to register layer: "../evil" leads outside of the layer'),
        ([File("a/../../evil", b"x")], '"a/../../evil" leads outside of the layer'),
        ([File("l", type=tarfile.LNKTYPE, link="../../etc/passwd")], '"../../etc/passwd" leads outside of the layer'),
        ([File("l", type=tarfile.LNKTYPE, link="missing")], 'hard link to "missing", which isn\'t in the layer'),
        ([File("l", type=tarfile.LNKTYPE, link="l")], "hard link to itself"),
        ([File("f"), File("f/below", b"x")], 'write "f/below": not a directory'),
        ([File(".wh..")], "whiteout of"),
        ([File("n" * 300, b"x")], "file name too long"),
        ([File("x", type=b"Q")], 'entry of the unknown type "Q"'),
    ],
)
def test_hostile(stores: Stores, members: list[File], message: str) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        _add(stores, make_tar(*members))
    assert message in caught.value.message and "\n" not in caught.value.message
    assert stores.leftovers() == []


def test_no_link_leads_outside(stores: Stores, tmp_path: Path) -> None:
    target = tmp_path / "outside"
    target.mkdir()
    (target / "victim").write_text("safe")
    escape = "../" * 30 + os.fspath(target).lstrip("/")
    members = [
        File("absolute", type=tarfile.SYMTYPE, link=os.fspath(target)),
        File("relative", type=tarfile.SYMTYPE, link=escape),
    ]
    for link in ("absolute", "relative"):
        with pytest.raises(HostvmError):
            _add(stores, make_tar(*members, File(f"{link}/victim", b"evil")))
        with pytest.raises(HostvmError):
            _add(stores, make_tar(*members, File("stolen", type=tarfile.LNKTYPE, link=f"{link}/victim")))
    assert (target / "victim").read_text() == "safe" and os.listdir(target) == ["victim"]
    assert stores.leftovers() == []


def test_absolute_names_are_inside(stores: Stores) -> None:
    diff_id = _add(stores, make_tar(File("/deep/below/file", b"x"), File("./other", b"y")))
    assert stores.tree(diff_id) == {"deep", "deep/below", "deep/below/file", "other"}
    assert os.stat(Path(stores.layers.path(diff_id), "deep")).st_mode & 0o7777 == 0o755


def test_a_layer_cannot_speak_to_overlayfs(stores: Stores) -> None:
    header = tarfile.TarInfo("d")
    header.type = tarfile.DIRTYPE
    header.pax_headers = {"SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.user.kept": "1"}
    diff_id = _add(stores, header.tobuf(tarfile.PAX_FORMAT))
    assert os.listxattr(Path(stores.layers.path(diff_id), "d")) == ["user.kept"]


def test_a_file_with_capabilities_keeps_them(stores: Stores) -> None:
    """`ping` of a pulled image lost its own: writing to a file takes them away, so they come behind the content."""
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    header = tarfile.TarInfo("ping")
    header.size, header.mode, header.uid = 5, 0o4755, 7
    header.pax_headers = {"SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape")}
    diff_id = _add(stores, header.tobuf(tarfile.PAX_FORMAT) + b"hello".ljust(512, b"\0"))
    path = Path(stores.layers.path(diff_id), "ping")
    assert os.getxattr(path, "security.capability") == capability
    assert path.read_bytes() == b"hello" and path.stat().st_mode & 0o7777 == 0o4755


@contextmanager
def _overlay(stores: Stores, diff_ids: list[DiffId], at: Path) -> Iterator[Path]:
    at.mkdir()
    lower = ":".join(os.path.join(stores.layers.folder, name) for name in stores.layers.names(diff_ids))
    lower += ":" + os.path.join(stores.layers.folder, "empty")  # overlayfs wants two where there is no upper
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower}", at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


def test_whiteouts_through_an_overlay(stores: Stores, tmp_path: Path) -> None:
    base = _add(stores, make_tar(*(folder(n) for n in "abcd"), *(File(f"{n}/old", b"x") for n in "abcd"), File("f")))
    whiteouts = [
        File("a/.wh.old"),  # one file
        folder("b"), File("b/.wh..wh..opq"), File("b/new", b"y"),  # everything in a folder
        File(".wh.c"), folder("c"), File("c/new", b"y"),  # a folder, made again after its whiteout
        folder("d"), File("d/new", b"y"), File(".wh.d"),  # and before it
        File(".wh..wh.plnk"),  # a note of aufs
        File("f", type=tarfile.DIRTYPE),  # a file becomes a folder
    ]  # fmt: skip
    top = _add(stores, make_tar(*whiteouts))
    with _overlay(stores, [base, top, base, top], tmp_path / "merged") as merged:
        found = {os.fspath(path.relative_to(merged)) for path in merged.rglob("*")}
    assert found == {"a", "b", "b/new", "c", "c/new", "d", "d/new", "f"}


def test_replacing_entries(stores: Stores) -> None:
    data = make_tar(folder("x"), File("x/in", b"1"), File("x", b"file"), File("s", type=tarfile.SYMTYPE, link="x"),
                    File("s", b"own"))  # fmt: skip
    root = Path(stores.layers.path(_add(stores, data)))
    assert (root / "x").read_bytes() == b"file" and (root / "s").read_bytes() == b"own"


def test_disk_full(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], check=True)
    try:
        stores = Stores(small)
        with pytest.raises(HostFailed, match='failed to register layer: write "big": no space left on device') as error:
            _add(stores, make_tar(File("first", b"x"), File("big", bytes(8 << 20))))
        assert error.value.hint and stores.leftovers() == []
        _add(stores, make_tar(File("small", bytes(1 << 20))))
        stores.records.close()
    finally:
        subprocess.run(["umount", small], check=True)


_HALF_A_LAYER = """
import sys, time
from pathlib import Path
from tests.behaviour.images.stores import Stores
from tests.behaviour.images.layouts import File, make_tar
stores = Stores(Path(sys.argv[1]))
staging = stores.layers.stage()
first = staging.unpacker(); first.write(make_tar(File("whole", b"x"))); first.finish()
if sys.argv[2] == "published":
    staging.publish()
second = staging.unpacker(); second.write(make_tar(File("half", bytes(1 << 20)))[:500000])
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("moment", ["staged", "published"])
def test_killed_half_way(tmp_path: Path, moment: str) -> None:
    data = tmp_path / "data"
    argv = [sys.executable, "-c", _HALF_A_LAYER, os.fspath(data), moment]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as victim:
        assert victim.stdout is not None and victim.stdout.readline() == b"ready\n"
        victim.send_signal(signal.SIGKILL)
    _wait_until_no_helper_works_in(data)
    stores = Stores(data)
    assert (stores.warnings, stores.layers.known(), stores.leftovers()) == ([], (), [])


def _wait_until_no_helper_works_in(folder: Path) -> None:
    """The helper notices by itself that the engine is gone."""
    deadline = time.monotonic() + 5
    while any(_command_line(pid).find(os.fsencode(folder)) >= 0 for pid in os.listdir("/proc") if pid.isdigit()):
        assert time.monotonic() < deadline, "the helper outlived the engine"
        time.sleep(0.01)


def _command_line(pid: str) -> bytes:
    try:
        return Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return b""


def test_an_image_deeper_than_a_path(tmp_path: Path, stores: Stores) -> None:
    """A container can nest folders without limit; the way to remove them must not recurse."""
    from guest_agent.store.files import move_to_grave, remove_tree

    here = os.getcwd()
    (tmp_path / "deep").mkdir()
    try:
        os.chdir(tmp_path / "deep")
        for _ in range(3000):
            os.mkdir("dddddddddd")
            os.chdir("dddddddddd")
    finally:
        os.chdir(here)
    remove_tree(move_to_grave(os.fspath(tmp_path / "deep"), stores.paths.temporary))
    assert stores.leftovers() == []
