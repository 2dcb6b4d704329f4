"""Volumes: their options, their life, who sees them, and what is told about them."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.behaviour.harness.machine import Machine

ONCE = ("run", "--rm")
TMPFS = ("-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=7")


def test_a_volume_with_a_file_system_of_its_own(machine: Machine) -> None:
    """It is mounted while a running container has it, one for all of them, and gone after the last."""
    machine("volume", "create", *TMPFS, "--label", "a=b", "fast")
    seen = machine(*ONCE, "-v", "fast:/f", "busybox", "sh", "-c", "grep ' /f ' /proc/mounts; stat -c %u /f; touch /f/x")
    mount, owner = seen.splitlines()
    assert mount.startswith("tmpfs /f tmpfs rw") and "size=1024k" in mount and owner == "7"
    assert machine(*ONCE, "-v", "fast:/f", "busybox", "ls", "/f") == ""
    machine("run", "-d", "--name", "one", "-v", "fast:/f", "busybox", "sh", "-c", "echo kept > /f/x; exec sleep 3600")
    machine("run", "-d", "--name", "two", "-v", "fast:/f", "busybox", "sleep", "3600")
    machine("exec", "two", "sh", "-c", "until [ -s /f/x ]; do sleep 0.02; done")
    machine("rm", "-f", "one")
    assert machine(*ONCE, "-v", "fast:/f:ro", "busybox", "cat", "/f/x") == "kept"
    (shown,) = json.loads(machine("volume", "inspect", "fast"))
    assert shown["Options"] == {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=7"}
    assert (shown["Labels"], shown["Driver"], shown["Scope"]) == ({"a": "b"}, "local", "local")
    machine("rm", "-f", "two")
    assert machine("volume", "rm", "fast") == "fast"


def test_a_volume_that_is_a_folder_of_the_host(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("the host's\n")
    machine("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={tmp_path}", "host")
    assert machine(*ONCE, "-v", "host:/h", "busybox", "sh", "-c", "cat /h/file; echo x > /h/new") == "the host's"
    assert (tmp_path / "new").read_text() == "x\n"
    machine("volume", "rm", "host")
    assert (tmp_path / "file").exists()
    machine("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={tmp_path}/missing", "none")
    complaint = machine.fails(127, *ONCE, "-v", "none:/h", "busybox", "true")
    assert "failed to mount local volume: mount " in complaint and "no such file or directory" in complaint


def test_a_killed_engine_still_knows_what_it_mounted(machine: Machine) -> None:
    machine("volume", "create", *TMPFS, "fast")
    machine("run", "-d", "--name", "one", "-v", "fast:/f", "busybox", "sh", "-c", "echo kept > /f/x; exec sleep 3600")
    machine("exec", "one", "sh", "-c", "until [ -s /f/x ]; do sleep 0.02; done")
    machine.kill_engine()
    assert machine(*ONCE, "-v", "fast:/f", "busybox", "cat", "/f/x") == "kept"
    machine("rm", "-f", "one")
    assert machine(*ONCE, "-v", "fast:/f", "busybox", "ls", "/f") == ""


def test_refusals(machine: Machine) -> None:
    for words, complaint in (
        (("-o", "colour=red", "vv"), 'invalid option: "colour"'),
        (("-o", "type=tmpfs", "vv"), 'missing required option: "device"'),
        (("-d", "nowhere", "vv"), 'error looking up volume plugin nowhere: plugin "nowhere" not found'),
        (("v",), "volume name is too short, names should be at least two alphanumeric characters"),
    ):
        assert complaint in machine.fails(1, "volume", "create", *words)
    assert "get nowhere: no such volume" in machine.fails(1, "volume", "rm", "nowhere")
    assert machine("volume", "rm", "-f", "nowhere") == "nowhere"
    machine("create", "--name", "user", "-v", "used:/u", "busybox")
    identity = machine.inspect("user")["Id"]
    assert f"remove used: volume is in use - [{identity}]" in machine.fails(1, "volume", "rm", "-f", "used")


def test_mount_makes_volumes_with_labels_and_options(machine: Machine) -> None:
    option = "type=volume,source=made,target=/m,volume-label=a=b,volume-opt=type=tmpfs,volume-opt=device=tmpfs"
    assert machine(*ONCE, "--mount", option, "busybox", "stat", "-f", "-c", "%T", "/m") == "tmpfs"
    (shown,) = json.loads(machine("volume", "inspect", "made"))
    assert (shown["Labels"], shown["Options"]) == ({"a": "b"}, {"type": "tmpfs", "device": "tmpfs"})
    assert machine(*ONCE, "--mount", "source=bare,target=/bin2,volume-nocopy", "busybox", "ls", "/bin2") == ""


def test_tmpfs_by_mount(machine: Machine) -> None:
    option = "type=tmpfs,target=/t,tmpfs-size=2m,tmpfs-mode=1700"
    seen = machine(*ONCE, "--mount", option, "busybox", "sh", "-c", "grep ' /t ' /proc/mounts; stat -c %a /t")
    assert "size=2048k" in seen and seen.endswith("1700")
    assert "Read-only" in machine.fails(
        1, *ONCE, "--mount", "type=tmpfs,target=/t,readonly", "busybox", "touch", "/t/x"
    )
    machine("create", "--name", "shown", "--mount", option, "--tmpfs", "/u:size=1m", "busybox")
    seen_by_inspect = machine.inspect("shown")
    assert seen_by_inspect["HostConfig"]["Tmpfs"] == {"/u": "size=1m"}
    assert [(mount["Type"], mount["Destination"]) for mount in seen_by_inspect["Mounts"]] == [("tmpfs", "/t")]


def test_a_volume_is_filled_when_its_container_is_made(machine: Machine) -> None:
    """Owner and mode of the folder itself, too; what is in it already stays."""
    machine("create", "--name", "made", "-v", "etc:/etc", "-v", "run:/var/mail", "debian:bookworm", "true")
    seen = machine(
        *ONCE, "-v", "etc:/e", "-v", "run:/m", "busybox", "sh", "-c", "head -n 1 /e/passwd; stat -c '%g %a' /m"
    )
    assert seen.splitlines() == ["root:x:0:0:root:/root:/bin/bash", "8 2775"]
    machine(*ONCE, "-v", "etc:/e", "busybox", "rm", "/e/passwd")
    machine("start", "made")
    assert machine.attempt(*ONCE, "-v", "etc:/e", "busybox", "ls", "/e/passwd").code == 1


def test_volumes_from(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("bound\n")
    mounts = ("-v", "named:/n", "-v", "/anonymous", "-v", f"{tmp_path}:/b")
    machine("run", "--name", "donor", *mounts, "busybox", "sh", "-c", "echo n > /n/x; echo a > /anonymous/x")
    files = ("/n/x", "/anonymous/x", "/b/file")
    assert machine(*ONCE, "--volumes-from", "donor", "busybox", "cat", *files) == "n\na\nbound"
    refused = machine.attempt(*ONCE, "--volumes-from", "donor:ro", "busybox", "sh", "-c", "touch /n/y /b/y")
    assert refused.err.count("Read-only") == 2
    covered = ("--volumes-from", "donor", "-v", "other:/n")
    assert machine(*ONCE, *covered, "busybox", "sh", "-c", "ls /n; cat /b/file") == "bound"
    assert machine.docker(*ONCE, "--volumes-from", "donor", "busybox", "cat", "/anonymous/x") == "a"
    machine("create", "--name", "heir", "--volumes-from", "donor", "busybox")
    machine("rm", "-v", "donor")
    assert machine(*ONCE, "--volumes-from", "heir", "busybox", "cat", "/anonymous/x") == "a"
    machine("rm", "-v", "heir")
    assert machine("volume", "ls", "-q").split() == ["named", "other"]


def test_prune_takes_what_nobody_has_and_nobody_named(machine: Machine) -> None:
    machine("volume", "create", "named")
    machine("create", "--name", "user", "-v", "/used", "busybox")
    used = machine.inspect("user")["Mounts"][0]["Name"]
    machine("run", "--name", "gone", "-v", "/unused", "busybox", "sh", "-c", "head -c 5000 /dev/zero > /unused/x")
    unused = machine.inspect("gone")["Mounts"][0]["Name"]
    machine("rm", "gone")
    assert machine("volume", "ls", "-q", "--filter", "dangling=true").split() == sorted([unused, "named"])
    said = machine("volume", "prune", "-f")
    assert said == f"Deleted Volumes:\n{unused}\n\nTotal reclaimed space: 5kB"
    assert machine("volume", "ls", "-q").split() == sorted([used, "named"])
    assert "named" in machine("volume", "prune", "-a", "-f")
    assert machine("volume", "ls", "-q").split() == [used]


def test_events(machine: Machine) -> None:
    since = str(time.time() - 1)
    machine("volume", "create", "told")
    machine(*ONCE, "--name", "teller", "-v", "told:/t:ro", "busybox", "true")
    machine("volume", "rm", "told")
    template = "{{.Action}} {{json .Actor.Attributes}}"
    words = ("--since", since, "--until", str(time.time() + 1), "--filter", "volume=told", "--format", template)
    story = [line.split(" ", 1) for line in machine("events", *words).splitlines()]
    assert [action for action, _ in story] == ["create", "mount", "unmount", "destroy"]
    mounted = json.loads(story[1][1])
    assert (mounted["destination"], mounted["read/write"], mounted["driver"]) == ("/t", "false", "local")


def test_an_empty_volume_in_use_is_filled_where_it_is(machine: Machine, tmp_path: Path) -> None:
    """What a second container's image brings is seen by the first one, which goes on writing to the same folder."""
    machine("run", "-d", "--name", "first", "-v", "shared:/mnt/x", "busybox", "sleep", "3600")
    machine("run", "-d", "--name", "second", "-v", "shared:/bin2", "-v", "shared:/etc", "busybox", "sleep", "3600")
    assert "passwd" in machine("exec", "first", "ls", "/mnt/x")
    machine("exec", "first", "sh", "-c", "echo word > /mnt/x/said")
    assert machine("exec", "second", "cat", "/etc/said") == "word"
    machine("volume", "create", *TMPFS, "own")
    assert "passwd" in machine(*ONCE, "-v", "own:/etc", "busybox", "ls", "/etc")
