"""The process inside: command, user, folder, environment, files of the engine, limits, security defaults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.behaviour.harness.machine import Machine

ONCE = ("run", "--rm")
#: Docker's default: the 14 capabilities of moby's oci/caps/defaults.go.
DEFAULT_CAPABILITIES = "00000000a80425fb"


def status(machine: Machine, field: str, *options: str) -> str:
    shown = machine(*ONCE, *options, "busybox", "grep", f"^{field}:", "/proc/self/status")
    return shown.split()[1]


def test_environment(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# a comment\nFROM_FILE=yes\nOVER=file\nINHERITED\n")
    words = ("-e", "A=1", "-e", "OVER=flag", "-e", "ALSO", "--env-file", f"{tmp_path}/env")
    environment = {"INHERITED": "from outside", "ALSO": "too"}
    lines = machine(*ONCE, *words, "busybox", "env", environment=environment).splitlines()
    wanted = {"A=1", "OVER=flag", "ALSO=too", "FROM_FILE=yes", "INHERITED=from outside", "HOME=/root"}
    assert wanted <= set(lines)
    assert "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in lines


def test_working_folder_is_made(machine: Machine) -> None:
    assert machine(*ONCE, "-w", "/made/for/it", "busybox", "pwd") == "/made/for/it"


@pytest.mark.parametrize(
    ("user", "seen"),
    [
        ("1000", "uid=1000 gid=0"),
        ("1000:1001", "uid=1000 gid=1001"),
        ("nobody", "uid=65534(nobody) gid=65534(nogroup)"),
        ("www-data:daemon", "uid=33(www-data) gid=1(daemon)"),
    ],
)
def test_user(machine: Machine, user: str, seen: str) -> None:
    assert machine(*ONCE, "-u", user, "debian:bookworm", "id").startswith(seen)


def test_entrypoint(machine: Machine) -> None:
    assert machine(*ONCE, "--entrypoint", "echo", "busybox", "a", "b") == "a b"


def test_host_name_and_hosts(machine: Machine) -> None:
    words = ("--hostname", "web", "--add-host", "db:10.9.8.7")
    seen = machine(*ONCE, *words, "busybox", "sh", "-c", "hostname; cat /etc/hostname /etc/hosts")
    lines = seen.splitlines()
    assert lines[:2] == ["web", "web"]
    assert "10.9.8.7\tdb" in lines
    assert re.search(r"^\d+\.\d+\.\d+\.\d+\tweb$", seen, re.M) and "127.0.0.1\tlocalhost" in lines


def test_default_capabilities_and_seccomp(machine: Machine) -> None:
    assert status(machine, "CapEff") == DEFAULT_CAPABILITIES
    assert status(machine, "CapBnd") == DEFAULT_CAPABILITIES
    assert status(machine, "Seccomp") == "2"
    assert status(machine, "NoNewPrivs") == "0"
    assert status(machine, "CapEff", "-u", "1000") == "0000000000000000"


def test_capabilities_added_and_dropped(machine: Machine) -> None:
    assert status(machine, "CapEff", "--cap-drop", "ALL") == "0000000000000000"
    assert status(machine, "CapEff", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN") == "0000000000001000"
    assert "denied" in machine.fails(1, *ONCE, "busybox", "mount", "-t", "tmpfs", "none", "/home")


def test_privileged(machine: Machine) -> None:
    assert (
        machine(*ONCE, "--privileged", "busybox", "sh", "-c", "mount -t tmpfs none /home && echo mounted") == "mounted"
    )
    assert status(machine, "Seccomp", "--privileged") == "0"


def test_forbidden_calls_are_refused_by_the_filter(machine: Machine) -> None:
    refused = machine.attempt(*ONCE, "busybox", "unshare", "-U", "true")
    assert refused.code != 0 and "not permitted" in refused.err


def test_masked_and_read_only_paths(machine: Machine) -> None:
    assert machine(*ONCE, "busybox", "sh", "-c", "cat /proc/kcore /proc/keys | wc -c; ls /proc/scsi | wc -l") == "0\n0"
    assert "Read-only" in machine.fails(1, *ONCE, "busybox", "sh", "-c", "echo 1 > /proc/sys/kernel/panic")
    assert "Read-only" in machine.fails(1, *ONCE, "busybox", "touch", "/sys/x")


def test_devices(machine: Machine) -> None:
    listed = set(machine(*ONCE, "busybox", "ls", "/dev").split())
    wanted = {"null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "mqueue", "ptmx", "stdin", "fd"}
    assert wanted <= listed and not listed & {"sda", "vda", "mem", "kmsg"}
    assert machine(*ONCE, "busybox", "sh", "-c", "df -k /dev/shm | tail -1").split()[1] == "65536"


def test_init_reaps_and_forwards(machine: Machine) -> None:
    seen = machine(*ONCE, "--init", "busybox", "sh", "-c", "(sleep 0.1 &); sleep 0.5; ps -o pid,comm,stat")
    assert "init" in seen.splitlines()[1] and " Z" not in seen


def test_labels(machine: Machine) -> None:
    machine("create", "--name", "marked", "--label", "a=1", "--label", "b", "busybox")
    template = '{{index .Config.Labels "a"}}|{{index .Config.Labels "b"}}'
    assert machine("inspect", "-f", template, "marked") == "1|"


def test_unprivileged_ports_and_ping_work_for_any_user(machine: Machine) -> None:
    assert machine(*ONCE, "-u", "1000", "busybox", "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start") == "0"


# -- limits


def test_a_memory_hog_is_killed_and_reported(machine: Machine) -> None:
    hog = ("busybox", "sh", "-c", "head -c 96m /dev/zero | tail -c 96m | wc -c")
    assert machine("run", "--rm", "-m", "512m", *hog) == str(96 << 20)
    endless = ("busybox", "tail", "-c", "200m", "/dev/zero")
    machine.fails(137, "run", "--name", "hog", "-m", "32m", *endless)
    assert machine("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "hog") == "true 137"


def test_memory_limit_as_the_kernel_has_it(machine: Machine) -> None:
    name = machine("run", "-d", "-m", "64m", "busybox", "sleep", "3600")
    limit = machine.ask("limit", machine.pid(name), "memory", "memory.limit_in_bytes", "memory.max")
    assert limit == str(64 << 20)


def test_pids_limit(machine: Machine) -> None:
    script = "for n in 1 2 3 4 5 6 7 8 9 10; do sleep 1 & done; wait"
    complaint = machine.attempt("run", "--rm", "--pids-limit", "5", "busybox", "sh", "-c", script).err
    assert "can't fork" in complaint


def test_cpus(machine: Machine) -> None:
    name = machine("run", "-d", "--cpus", "0.25", "busybox", "sleep", "3600")
    seen = [
        machine.ask("limit", machine.pid(name), "cpu", f"cpu.cfs_{what}_us", "cpu.max") for what in ("quota", "period")
    ]
    quota, period = seen[0].split() if " " in seen[0] else seen  # the one file of cgroup v2 has both
    assert int(quota) / int(period) == 0.25


def test_ulimit(machine: Machine) -> None:
    assert machine(*ONCE, "--ulimit", "nofile=512:1024", "busybox", "sh", "-c", "ulimit -n; ulimit -Hn") == "512\n1024"
