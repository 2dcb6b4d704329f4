"""Bind mounts, named volumes, tmpfs, read-only roots: what the process inside sees, what stands on the host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.behaviour.harness.machine import Machine


@pytest.fixture
def shared(machine: Machine, tmp_path: Path) -> Path:
    folder = tmp_path / "a folder with spaces"
    folder.mkdir()
    (folder / "file").write_text("from the host\n")
    return folder


def test_a_bind_mount_goes_both_ways(machine: Machine, shared: Path) -> None:
    script = "cat /src/file; echo from the container > /src/new; id -u > /src/who"
    assert machine("run", "--rm", "-v", f"{shared}:/src", "busybox", "sh", "-c", script) == "from the host"
    assert (shared / "new").read_text() == "from the container\n"
    assert (shared / "new").stat().st_uid == 0


def test_a_read_only_bind_mount(machine: Machine, shared: Path) -> None:
    complaint = machine.fails(1, "run", "--rm", "-v", f"{shared}:/src:ro", "busybox", "touch", "/src/new")
    assert "Read-only file system" in complaint
    assert not (shared / "new").exists()


def test_a_single_file(machine: Machine, shared: Path) -> None:
    words = ("run", "--rm", "-v", f"{shared}/file:/etc/motd:ro", "busybox", "cat", "/etc/motd")
    assert machine(*words) == "from the host"


def test_v_makes_a_missing_source(machine: Machine, tmp_path: Path) -> None:
    machine("run", "--rm", "-v", f"{tmp_path}/made/below:/src", "busybox", "touch", "/src/x")
    assert (tmp_path / "made/below/x").exists()


def test_mount_refuses_a_missing_source(machine: Machine, tmp_path: Path) -> None:
    option = f"type=bind,source={tmp_path}/missing,target=/src"
    complaint = machine.fails(125, "run", "--rm", "--mount", option, "busybox", "true")
    assert f'invalid mount config for type "bind": bind source path does not exist: {tmp_path}/missing' in complaint
    assert machine.containers() == [] and not (tmp_path / "missing").exists()


def test_mount_option_read_only(machine: Machine, shared: Path) -> None:
    option = f"type=bind,source={shared},target=/src,readonly"
    assert "Read-only" in machine.fails(1, "run", "--rm", "--mount", option, "busybox", "touch", "/src/new")


def test_a_named_volume_outlives_its_containers(machine: Machine) -> None:
    machine("run", "--rm", "-v", "data:/data", "busybox", "sh", "-c", "echo kept > /data/file")
    assert machine("run", "--rm", "-v", "data:/other", "busybox", "cat", "/other/file") == "kept"
    assert machine("volume", "ls", "-q") == "data"
    assert "volume is in use" in _remove_used(machine)
    machine("volume", "rm", "data")
    assert machine("volume", "ls", "-q") == ""


def _remove_used(machine: Machine) -> str:
    machine("create", "--name", "user", "-v", "data:/data", "busybox")
    complaint = machine.fails(1, "volume", "rm", "data")
    machine("rm", "user")
    return complaint


def test_a_new_volume_gets_the_image_s_files(machine: Machine) -> None:
    """With owner and mode, once; docker does so for volumes, not for binds."""
    listed = machine("run", "--rm", "-v", "bin:/bin", "busybox", "ls", "/bin")
    assert "busybox" in listed.split()


def test_an_anonymous_volume_goes_with_rm(machine: Machine) -> None:
    machine("run", "--rm", "-v", "/scratch", "busybox", "touch", "/scratch/x")
    assert machine("volume", "ls", "-q") == ""
    machine("run", "--name", "kept", "-v", "/scratch", "busybox", "touch", "/scratch/x")
    (volume,) = machine("volume", "ls", "-q").split()
    assert len(volume) == 64
    machine("rm", "-v", "kept")
    assert machine("volume", "ls", "-q") == ""


def test_tmpfs(machine: Machine) -> None:
    line = machine("run", "--rm", "--tmpfs", "/fast:size=1m,mode=1777", "busybox", "grep", " /fast ", "/proc/mounts")
    kind, options = line.split()[2:4]
    assert kind == "tmpfs" and {"size=1024k", "nosuid", "nodev"} <= set(options.split(","))
    shared = machine("run", "--rm", "--tmpfs", "/fast:shared", "busybox", "grep", " /fast ", "/proc/self/mountinfo")
    assert " shared:" in shared
    complaint = machine.fails(
        1, "run", "--rm", "--tmpfs", "/fast:size=1m", "busybox", "dd", "if=/dev/zero", "of=/fast/x", "bs=1M", "count=2"
    )
    assert "No space left" in complaint


def test_a_read_only_root(machine: Machine) -> None:
    assert "Read-only" in machine.fails(1, "run", "--rm", "--read-only", "busybox", "touch", "/x")
    words = ("run", "--rm", "--read-only", "--tmpfs", "/tmp", "-v", "data:/data", "busybox")
    assert machine(*words, "sh", "-c", "touch /tmp/x /data/x /dev/shm/x && echo fine") == "fine"


def test_mounts_inside_do_not_reach_the_host(machine: Machine, shared: Path) -> None:
    before = all_mounts(machine)
    machine("run", "--rm", "--privileged", "-v", f"{shared}:/src", "busybox", "mount", "-t", "tmpfs", "none", "/src")
    assert all_mounts(machine) == before
    assert (shared / "file").exists()


def all_mounts(machine: Machine) -> tuple[str, str]:
    """Where the engine is, and here."""
    return machine.read_inside("/proc/self/mountinfo"), Path("/proc/self/mountinfo").read_text()


def test_owner_and_mode_are_the_host_s(machine: Machine, shared: Path) -> None:
    os.chown(shared / "file", 1234, 4321)
    (shared / "file").chmod(0o640)
    words = ("run", "--rm", "-v", f"{shared}:/src", "busybox", "stat", "-c", "%u:%g %a", "/src/file")
    assert machine(*words) == "1234:4321 640"
