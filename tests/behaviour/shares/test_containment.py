"""Only what the user's list covers can be reached, and what leads to it is there to be passed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.behaviour.shares.stage import Stage


def test_what_leads_to_a_share_shows_only_what_leads_on(stage: Stage) -> None:
    mount = stage.mount_point
    assert os.listdir(mount) == ["tmp"]
    (below,) = os.listdir(f"{mount}/tmp")
    assert os.listdir(f"{mount}/tmp/{below}") == ["home"]
    assert os.listdir(f"{mount}/tmp/{below}/home") == ["shared folder"]
    assert os.stat(f"{mount}/tmp").st_mode & 0o7777 == 0o555


@pytest.mark.parametrize("path", ["etc", "etc/passwd", "tmp/other", "proc/self", "nowhere"])
def test_everything_else_is_refused(stage: Stage, path: str) -> None:
    for act in (os.stat, os.listdir, os.mkdir, lambda path: Path(path).write_text("")):
        with pytest.raises(PermissionError):
            act(f"{stage.mount_point}/{path}")


def test_nothing_changes_above_a_share(stage: Stage) -> None:
    above = os.path.dirname(stage.guest)
    forbidden: list[Callable[[], None]] = [
        lambda: os.mkdir(f"{above}/new"),
        lambda: os.rmdir(stage.guest),
        lambda: os.rename(stage.guest, f"{above}/renamed"),
        lambda: os.symlink("/etc", f"{above}/link"),
        lambda: os.chmod(above, 0o777),
        lambda: os.chown(stage.mount_point, 1, 1),
        lambda: os.utime(above),
    ]
    for act in forbidden:
        with pytest.raises(PermissionError):
            act()
    assert os.listdir(os.path.dirname(stage.host)) == ["shared folder"]


def test_a_link_is_text_for_the_guest(share: Stage) -> None:
    """It leads to where the guest has that path, which isn't where the host has it."""
    Path(share.folder, "canary").write_text("outside")
    os.symlink(f"{share.folder}/canary", f"{share.guest}/absolute")
    os.symlink("../../canary", f"{share.guest}/relative")
    with pytest.raises(PermissionError):
        Path(f"{share.guest}/relative").read_text()
    os.unlink(f"{share.folder}/canary")
    with pytest.raises(FileNotFoundError):  # resolved by this process, whose root isn't the share's
        Path(f"{share.guest}/absolute").read_text()


def test_no_devices(stage: Stage) -> None:
    with pytest.raises(PermissionError):
        os.mknod(f"{stage.guest}/disk", 0o60600, os.makedev(8, 0))
    os.mknod(f"{stage.host}/zero", 0o20666, os.makedev(1, 5))
    with pytest.raises(PermissionError):
        Path(f"{stage.guest}/zero").read_text()
    os.unlink(f"{stage.host}/zero")


def test_links_that_change_while_the_server_walks(share: Stage) -> None:
    """A process on the host swaps a folder and a link to the outside; no answer may come from there."""
    os.mkdir(f"{share.folder}/outside")
    Path(share.folder, "outside/file").write_text("outside")
    os.mkdir(f"{share.host}/real")
    Path(share.host, "real/file").write_text("inside")
    script = f"""
import ctypes, os
os.chdir({share.host!r})
os.symlink({share.folder + "/outside"!r}, "link")
libc = ctypes.CDLL(None)
print("ready", flush=True)
while True:
    libc.renameat2(-100, b"real", -100, b"link", 2)
"""
    swapper = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert swapper.stdout is not None and swapper.stdout.readline()
    seen: dict[str, int] = {}
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        story = attack(f"{share.guest}/real")
        seen[story] = seen.get(story, 0) + 1
    swapper.kill()
    swapper.wait()
    swapper.stdout.close()
    assert "outside" not in seen and seen.get("inside", 0) > 10, seen
    assert Path(share.folder, "outside/file").read_text() == "outside"
    assert os.listdir(f"{share.folder}/outside") == ["file"]


def attack(folder: str) -> str:
    """Read, write and make below a name that may be a link by the time it is used."""
    try:
        folder_descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    try:
        descriptor = os.open("file", os.O_RDWR, dir_fd=folder_descriptor)
        text = os.read(descriptor, 100).decode()
        os.close(descriptor)
        os.close(os.open("made", os.O_CREAT | os.O_WRONLY, dir_fd=folder_descriptor))
        os.unlink("made", dir_fd=folder_descriptor)
        return text
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    finally:
        os.close(folder_descriptor)


def test_a_folder_that_left_the_share_is_out_of_reach(share: Stage) -> None:
    os.mkdir(f"{share.host}/leaves")
    Path(share.host, "leaves/file").write_text("x")
    inside = os.open(f"{share.guest}/leaves", os.O_RDONLY)
    os.rename(f"{share.host}/leaves", f"{share.folder}/left")
    with pytest.raises(OSError):
        os.open("file", os.O_RDONLY, dir_fd=inside)
    os.close(inside)


def test_rules_can_change(share: Stage) -> None:
    os.mkdir(f"{share.folder}/second")
    Path(share.folder, "second/file").write_text("second")
    Path(share.host, "file").write_text("first")
    second = f"{share.mount_point}{share.folder}/second"
    with open(f"{share.guest}/file") as opened:
        share.set_rules(share.host, f"{share.folder}/second")
        assert Path(second, "file").read_text() == "second"
        assert opened.read() == "first"
        share.set_rules(f"{share.folder}/second")
        opened.seek(0)
        with pytest.raises(OSError):
            opened.read()
    with pytest.raises(PermissionError):
        os.listdir(share.guest)
    share.set_rules(share.host)
    assert Path(share.guest, "file").read_text() == "first"
    with pytest.raises(PermissionError):
        os.listdir(second)


def test_nothing_is_shared_by_an_empty_list(share: Stage) -> None:
    share.set_rules()
    assert os.listdir(share.mount_point) == []
    with pytest.raises(PermissionError):
        os.stat(share.guest)


def test_the_whole_host(share: Stage) -> None:
    share.set_rules("/")
    assert set(os.listdir("/")) <= set(os.listdir(share.mount_point))
    Path(share.guest, "file").write_text("x")
    assert os.listdir(share.guest) == ["file"]
    assert Path(f"{share.mount_point}/etc/passwd").read_text() == Path("/etc/passwd").read_text()


def test_a_single_file_and_a_path_through_a_link(share: Stage) -> None:
    Path(share.folder, "one").write_text("one")
    Path(share.folder, "two").write_text("two")
    os.symlink(share.host, f"{share.folder}/linked")
    Path(share.host, "file").write_text("file")
    share.set_rules(f"{share.folder}/one", f"{share.folder}/linked")
    base = f"{share.mount_point}{share.folder}"
    assert sorted(os.listdir(base)) == ["home", "linked", "one"]
    assert Path(base, "one").read_text() == "one" and Path(base, "linked/file").read_text() == "file"
    assert Path(share.guest, "file").read_text() == "file"
    with pytest.raises(PermissionError):
        Path(f"{base}/two").read_text()


def test_a_shared_folder_that_is_missing(share: Stage) -> None:
    share.set_rules(f"{share.folder}/later")
    later = f"{share.mount_point}{share.folder}/later"
    with pytest.raises(FileNotFoundError):
        os.listdir(later)
    os.mkdir(f"{share.folder}/later")
    assert os.listdir(later) == []
    os.rmdir(f"{share.folder}/later")
    os.mkdir(f"{share.folder}/later")
    Path(later, "x").touch()
    assert os.listdir(f"{share.folder}/later") == ["x"]
