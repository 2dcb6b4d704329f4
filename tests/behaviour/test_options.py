"""Options of `run` that few people give, by what the process inside saw."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import wait_for

ONCE = ("run", "--rm")
FOREVER = ("busybox", "sleep", "3600")


def status(machine: Machine, field: str, *options: str) -> str:
    shown = machine(*ONCE, *options, "busybox", "grep", f"^{field}:", "/proc/self/status")
    return shown.split()[1]


def test_devices(machine: Machine) -> None:
    words = ("--device", "/dev/kmsg:/dev/readable:r", "--device", "/dev/full", "busybox", "sh", "-c")
    seen = machine.attempt(*ONCE, *words, "stat -c '%t %T' /dev/readable /dev/full; echo > /dev/readable")
    assert seen.out.split() == ["1", "b", "1", "7"] and "not permitted" in seen.err
    node = "mknod /n c 1 7 && cat /n | head -c 1 | wc -c"
    assert machine(*ONCE, "--device-cgroup-rule", "c 1:* rwm", "busybox", "sh", "-c", node) == "1"
    complaint = machine.fails(127, *ONCE, "--device", "/dev/nowhere", "busybox", "true")
    assert 'error gathering device information while adding custom device "/dev/nowhere"' in complaint


def test_security_options(machine: Machine, tmp_path: Path) -> None:
    assert status(machine, "NoNewPrivs", "--security-opt", "no-new-privileges") == "1"
    assert status(machine, "NoNewPrivs", "--security-opt", "no-new-privileges=false") == "0"
    assert status(machine, "Seccomp", "--security-opt", "seccomp=unconfined") == "0"
    refused = {"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO"}
    (tmp_path / "profile.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused]}))
    profile = f"seccomp={tmp_path}/profile.json"
    assert "not permitted" in machine.fails(1, *ONCE, "--security-opt", profile, "busybox", "chmod", "700", "/tmp")
    masked = ("busybox", "sh", "-c", "grep -c ' /proc/' /proc/self/mountinfo")
    assert machine.attempt(*ONCE, "--security-opt", "systempaths=unconfined", *masked).out == "0\n"
    assert int(machine(*ONCE, *masked)) > 5
    for option, words in (("colour=red", 'invalid --security-opt 2: "colour=red"'), ("colour", "colour")):
        assert words in machine.fails(125, *ONCE, "--security-opt", option, "busybox", "true")
    machine("create", "--name", "strong", "--privileged", "busybox")
    assert machine.inspect("strong")["HostConfig"]["SecurityOpt"] == ["label=disable"]


def test_capabilities_in_all_spellings(machine: Machine) -> None:
    few = ("--cap-drop", "all", "--cap-add", "cap_net_admin", "--cap-add", "KILL")
    assert status(machine, "CapEff", *few) == f"{1 << 12 | 1 << 5:016x}"
    most = int(status(machine, "CapBnd", "--cap-add", "ALL", "--cap-drop", "SYS_ADMIN"), 16)
    assert not most & 1 << 21 and most & 1 << 12
    complaint = machine.fails(125, *ONCE, "--cap-add", "fly", "busybox", "true")
    assert 'invalid CapAdd: unknown capability: "CAP_FLY"' in complaint


def test_privileged_sees_everything(machine: Machine) -> None:
    script = "mkdir -p /mnt; mount -t tmpfs none /mnt && echo mounted; ls /dev/kmsg; grep ' /sys ' /proc/mounts"
    seen = machine.attempt(*ONCE, "--privileged", "busybox", "sh", "-c", script).out
    assert "mounted" in seen and "/dev/kmsg" in seen and "sysfs rw" in seen


def test_namespaces_that_are_shared(machine: Machine) -> None:
    machine(
        "run", "-d", "--name", "donor", "--ipc", "shareable", "busybox", "sh", "-c", "echo in > /dev/shm/x; sleep 3600"
    )
    machine("exec", "donor", "sh", "-c", "until [ -s /dev/shm/x ]; do sleep 0.02; done")
    assert machine(*ONCE, "--ipc", "container:donor", "busybox", "cat", "/dev/shm/x") == "in"
    assert "sleep 3600" in machine(*ONCE, "--pid", "container:donor", "busybox", "ps")
    machine("run", "-d", "--name", "selfish", *FOREVER)
    complaint = machine.fails(125, *ONCE, "--ipc", "container:selfish", "busybox", "true")
    assert "non-shareable IPC (hint: use IpcMode:shareable for the donor container)" in complaint
    assert machine.attempt(*ONCE, "--ipc", "none", "busybox", "grep", " /dev/shm ", "/proc/mounts").out == ""
    assert "No such container: nobody" in machine.fails(125, *ONCE, "--pid", "container:nobody", "busybox", "true")
    assert len(machine(*ONCE, "--pid", "host", "busybox", "ps").splitlines()) > 5
    assert (
        machine(*ONCE, "--uts", "host", "busybox", "hostname") == machine.inside(["hostname"]).stdout.decode().strip()
    )
    groups = machine(*ONCE, "--cgroupns", "host", "busybox", "cat", "/proc/self/cgroup")
    assert "/hostvm/" in groups
    private = machine(*ONCE, "--cgroupns", "private", "busybox", "cat", "/proc/self/cgroup")
    assert "/hostvm/" not in private


def test_a_donor_need_not_run_when_its_guest_is_made(machine: Machine) -> None:
    """compose makes all containers of a project before it starts any."""
    machine("create", "--name", "donor", "--hostname", "host-of-both", *FOREVER)
    joins = ("--network", "container:donor", "--pid", "container:donor")
    machine("create", "--name", "guest", *joins, "busybox", "sh", "-c", "hostname; ps")
    assert "non running container" in machine.fails(1, "start", "guest")
    machine("start", "donor")
    seen = machine("start", "-a", "guest")
    assert "host-of-both" in seen and "sleep 3600" in seen


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--gpus", "all"), 'could not select device driver "" with capabilities: [[gpu]]'),
        (("--storage-opt", "size=1g"), "--storage-opt is supported only for overlay over xfs with"),
        (("--runtime", "nvidia"), "unknown or invalid runtime name: nvidia"),
        (("--isolation", "hyperv"), "Invalid isolation: \"hyperv\" - linux only supports 'default'"),
        (("--cpuset-cpus", "512"), "Requested CPUs are not available - requested 512, available: 0"),
        (("--cpuset-mems", "x"), "Invalid value x for cpuset mems: invalid format: x"),
        (("--uts", "host", "--hostname", "me"), "conflicting options: hostname and the UTS mode"),
        (("--ipc", "everybody"), "invalid IPC mode: everybody"),
        (("--sysctl", "net.core.somaxconn=5", "--network", "host"), "not allowed in host network namespace"),
        (("--mount", "type=volume,source=vv,target=/v,volume-subpath=x"), "subpath"),
        (("--mount", "type=image,source=busybox,target=/v"), "mount type unknown"),
        (("--volumes-from", "nobody"), "No such container: nobody"),
        (("-v", "/a:/b:ro,rw"), "invalid mode: ro,rw"),
        (("-v", "/a:/b:nocopy"), 'invalid mount config for type "bind": field VolumeOptions must not be specified'),
        (("-v", "a:/b:shared"), 'invalid mount config for type "volume": field BindOptions must not be specified'),
        (("-w", "/bin/busybox"), "Cannot mkdir: /bin/busybox is not a directory"),
        (("-v", "/proc//sys"), '"/proc/sys" cannot be mounted because it is inside /proc'),
        (("--device", "/etc"), 'adding custom device "/etc": not a device node'),
        (("--network", "container:me", "--name", "me"), "cannot join own network"),
        (("--network", "container:me", "--hostname", "x"), "conflicting options: hostname and the network mode"),
        (("--volume-driver", "far", "-v", "vv:/v"), 'error looking up volume plugin far: plugin "far" not found'),
    ],
)  # fmt: skip
def test_refusals(machine: Machine, option: tuple[str, ...], words: str) -> None:
    assert words in machine.fails(125, *ONCE, *option, "busybox", "true")
    machine.attempt("rm", "-f", *machine.containers())


def test_limits_as_the_process_has_them(machine: Machine) -> None:
    words = (
        "--cpuset-cpus",
        "0",
        "--shm-size",
        "1m",
        "--oom-score-adj",
        "500",
        "--ulimit",
        "core=0",
        "--ulimit",
        "nofile=64:99",
    )
    script = "grep Cpus_allowed_list /proc/self/status; df -k /dev/shm | tail -1; cat /proc/self/oom_score_adj; "
    script += "ulimit -n"
    seen = machine(*ONCE, *words, "busybox", "sh", "-c", script).split()
    assert seen[1] == "0" and "1024" in seen and "500" in seen and seen[-1] == "64"
    name = machine("run", "-d", "-m", "64m", "--memory-swap", "64m", "-c", "512", *FOREVER)
    shares = machine.ask("limit", machine.pid(name), "cpu", "cpu.shares", "cpu.weight")
    assert shares in ("512", "20")
    shown = machine.inspect(name)["HostConfig"]
    assert (shown["Memory"], shown["MemorySwap"], shown["CpuShares"]) == (64 << 20, 64 << 20, 512)


def test_what_inspect_shows_of_defaults(machine: Machine) -> None:
    machine("create", "--name", "plain", "-m", "64m", "--annotation", "a=b", "--label", "x=y", "busybox")
    host = machine.inspect("plain")["HostConfig"]
    assert host["MemorySwap"] in (128 << 20, -1)
    assert (host["IpcMode"], host["CgroupnsMode"], host["Annotations"]) == ("private", "private", {"a": "b"})
    assert host["VolumesFrom"] is None and host["DeviceRequests"] is None and "Init" not in host


# -- update


def limits(machine: Machine, name: str) -> tuple[str, str, str]:
    pid = machine.pid(name)
    return (
        machine.ask("limit", pid, "memory", "memory.limit_in_bytes", "memory.max"),
        machine.ask("limit", pid, "pids", "pids.max", "pids.max"),
        machine.ask("limit", pid, "cpuset", "cpuset.cpus", "cpuset.cpus"),
    )


def test_update_of_a_running_container(machine: Machine) -> None:
    machine("run", "-d", "--name", "one", "-m", "64m", *FOREVER)
    words = ("-m", "128m", "--memory-swap", "256m", "--pids-limit", "50", "--cpuset-cpus", "0", "--restart", "always")
    assert machine("update", *words, "one") == "one"
    assert limits(machine, "one") == (str(128 << 20), "50", "0")
    assert machine.docker("update", "--pids-limit", "-1", "one") == "one"
    assert limits(machine, "one")[1] == "max"
    host = machine.inspect("one")["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (128 << 20, 256 << 20, 0)
    assert host["RestartPolicy"] == {"Name": "always", "MaximumRetryCount": 0}
    machine("update", "--restart", "no", "one")
    machine("restart", "-t", "0", "one")
    assert limits(machine, "one")[0] == str(128 << 20)


def test_update_of_a_stopped_container_and_refusals(machine: Machine) -> None:
    machine("create", "--name", "two", *FOREVER)
    assert machine("update", "--cpus", "0.5", "-m", "64m", "--memory-swap", "-1", "two") == "two"
    machine("start", "two")
    assert limits(machine, "two")[0] == str(64 << 20)
    for words, complaint in (
        (("-m", "1m", "two"), "Minimum memory limit allowed is 6MB"),
        (
            ("-m", "100m", "two"),
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap",
        ),
        (("--cpu-quota", "5000", "two"), "CPU Quota cannot be updated as NanoCPUs has already been set"),
        (("--cpuset-cpus", "512", "two"), "Requested CPUs are not available"),
        (("-c", "5", "nobody"), "No such container: nobody"),
    ):
        assert complaint in machine.fails(1, "update", *words)
    assert machine.attempt("update", "-c", "5", "nobody", "two").out == "two\n"


# -- out of memory


def test_a_container_that_outlives_the_kill_of_a_child(machine: Machine) -> None:
    """docker tells at once, and inspect says so of a container that still runs."""
    since = str(time.time() - 1)
    script = "tail -c 200m /dev/zero; echo killed; exec sleep 3600"
    machine("run", "-d", "--name", "one", "-m", "32m", "--memory-swap", "32m", "busybox", "sh", "-c", script)
    wait_for(lambda: machine("logs", "one").endswith("killed"), "the child's end")
    wait_for(lambda: machine.inspect("one")["State"]["OOMKilled"], "the kernel's word")
    assert machine.status("one") == "running"
    machine("rm", "-f", "one")
    words = ("--since", since, "--until", str(time.time() + 1), "--filter", "container=one", "--filter", "event=oom")
    assert len(machine("events", *words).splitlines()) == 1
