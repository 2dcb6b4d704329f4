"""An empty volume takes what the image has at its place."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from guest_agent.linux import mounts
from guest_agent.volumes.fill import fill_volume, wants_filling

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    (tmp_path / "rootfs" / "data").mkdir(parents=True)
    return tmp_path / "rootfs"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


def fill(rootfs: Path, target: str, volume: Path) -> bool:
    return fill_volume(str(rootfs), target, str(volume))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_files_and_folders_with_modes_and_times(rootfs: Path, volume: Path) -> None:
    inner = rootfs / "data" / "inner"
    inner.mkdir(mode=0o750)
    (inner / "file").write_bytes(b"content")
    os.chmod(inner / "file", 0o4711)
    os.utime(inner / "file", ns=(10**18, 10**18 + 7))
    os.chmod(rootfs / "data", 0o1777)
    assert fill(rootfs, "/data", volume)
    assert names(volume) == ["inner", "inner/file"]
    copied = os.stat(volume / "inner" / "file")
    assert (copied.st_mode & 0o7777, copied.st_mtime_ns) == (0o4711, 10**18 + 7)
    assert stat.S_IMODE(os.stat(volume / "inner").st_mode) == 0o750
    assert stat.S_IMODE(os.stat(volume).st_mode) == 0o1777
    assert (volume / "inner" / "file").read_bytes() == b"content"


@needs_root
def test_owners_of_all_that_is_copied(rootfs: Path, volume: Path) -> None:
    (rootfs / "data" / "file").write_text("")
    os.symlink("file", rootfs / "data" / "link")
    for name in ("data", "data/file", "data/link"):
        os.chown(rootfs / name, 33, 44, follow_symlinks=False)
    assert fill(rootfs, "/data", volume)
    for path in (volume, volume / "file", volume / "link"):
        assert (os.lstat(path).st_uid, os.lstat(path).st_gid) == (33, 44)


@needs_root
def test_a_set_uid_file_of_another_stays_one(rootfs: Path, volume: Path) -> None:
    """chown(2) takes the bit away, so that it must be set after it."""
    (rootfs / "data" / "su").write_text("")
    os.chown(rootfs / "data" / "su", 33, 44)
    os.chmod(rootfs / "data" / "su", 0o6755)
    assert fill(rootfs, "/data", volume)
    assert stat.S_IMODE(os.stat(volume / "su").st_mode) == 0o6755


@needs_root
def test_pipes_and_devices(rootfs: Path, volume: Path) -> None:
    os.mkfifo(rootfs / "data" / "pipe")
    os.mknod(rootfs / "data" / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    assert fill(rootfs, "/data", volume)
    assert stat.S_ISFIFO(os.stat(volume / "pipe").st_mode)
    assert os.stat(volume / "null").st_rdev == os.makedev(1, 3)


def test_links_stay_links_wherever_they_point(rootfs: Path, volume: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    for number, target in enumerate((str(tmp_path / "secret"), "/nowhere", "../../secret")):
        os.symlink(target, rootfs / "data" / f"link{number}")
    os.symlink(str(tmp_path), rootfs / "data" / "folder")
    assert fill(rootfs, "/data", volume)
    assert os.readlink(volume / "link0") == str(tmp_path / "secret")
    assert os.readlink(volume / "link1") == "/nowhere"
    assert names(volume) == ["folder", "link0", "link1", "link2"]


def test_a_path_that_leads_out_of_the_root_leads_into_it(rootfs: Path, volume: Path, tmp_path: Path) -> None:
    """An image may hold a link to / or up: followed by the host's eyes it would copy the host's files."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("of the host")
    os.symlink(str(outside), rootfs / "absolute")
    os.symlink("../outside", rootfs / "upward")
    os.symlink("/data", rootfs / "inward")
    (rootfs / "data" / "mine").write_text("")
    assert not fill(rootfs, "/absolute", volume)
    assert not fill(rootfs, "/upward", volume)
    assert names(volume) == []
    assert fill(rootfs, "/inward", volume)
    assert names(volume) == ["mine"]


def test_nothing_to_copy(rootfs: Path, volume: Path) -> None:
    (rootfs / "file").write_text("no folder")
    assert not fill(rootfs, "/missing", volume)
    assert not fill(rootfs, "/file", volume)


def test_a_volume_with_something_in_it_is_left_alone(rootfs: Path, volume: Path) -> None:
    (rootfs / "data" / "theirs").write_text("")
    (volume / "mine").write_text("")
    assert not fill(rootfs, "/data", volume)
    assert names(volume) == ["mine"]


def test_the_folder_stays_the_same(rootfs: Path, volume: Path) -> None:
    """Another container may have it mounted: what replaces it would be another folder than that one's."""
    (rootfs / "data" / "file").write_text("")
    before = os.stat(volume).st_ino
    assert fill(rootfs, "/data", volume)
    assert os.stat(volume).st_ino == before
    assert sorted(os.listdir(volume.parent)) == ["rootfs", "volume"]


@needs_root
def test_a_volume_with_a_file_system_of_its_own(rootfs: Path, volume: Path) -> None:
    """rename(2) onto a mount point is EBUSY: the start of the container failed."""
    (rootfs / "data" / "file").write_text("content")
    mounts.mount("tmpfs", str(volume), "tmpfs")
    try:
        assert fill(rootfs, "/data", volume)
        assert (volume / "file").read_text() == "content"
    finally:
        mounts.umount(str(volume))
    assert names(volume) == []


def test_an_interrupted_fill_goes_on(rootfs: Path, volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there under its name is whole, or a container's: it isn't copied again."""
    for name in ("one", "two", "inner/three"):
        (rootfs / "data" / name).parent.mkdir(exist_ok=True)
        (rootfs / "data" / name).write_text("of the image")
    copies: list[str] = []

    def half_copy(source: str, target: str, *, follow_symlinks: bool) -> None:
        Path(target).write_text("of the")
        if copies:
            raise OSError("disk full")
        copies.append(source)
        shutil.copy(source, target)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr("guest_agent.volumes.fill.shutil.copyfile", half_copy)
        fill(rootfs, "/data", volume)
    (volume / "two").write_text("of a container")
    assert wants_filling(str(volume)) and fill(rootfs, "/data", volume)
    assert names(volume) == ["inner", "inner/three", "one", "two"]
    assert (volume / "two").read_text() == "of a container"
    assert (volume / "one").read_text() == (volume / "inner" / "three").read_text() == "of the image"
    assert not wants_filling(str(volume)) and not fill(rootfs, "/data", volume)
