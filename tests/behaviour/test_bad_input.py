"""Bad input: one clear line, a hint where one helps, docker's exit code, and nothing left behind (the audit sees)."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.conftest import MachineMaker, clean
from tests.behaviour.harness import images
from tests.behaviour.harness.machine import HOSTVM, Machine

RUN = ("run", "--rm")


def assert_clear(complaint: str) -> None:
    """No traceback, and nothing that only a developer understands."""
    assert complaint.strip() and "Traceback" not in complaint


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("frobnicate",), 1, "unknown command: hostvm frobnicate"),
        (("run",), 1, "requires at least 1 argument"),
        (("run", "--frob", "busybox"), 125, "unknown flag: --frob"),
        (("run", "-Z", "busybox"), 125, "unknown shorthand flag: 'Z' in -Z"),
        (("ps", "--frob"), 125, "unknown flag: --frob"),
        (("rm",), 1, "requires at least 1 argument"),
        (("start", "nobody"), 1, "No such container: nobody"),
        (("logs", "nobody"), 1, "No such container: nobody"),
        (("inspect", "nobody"), 1, "No such object: nobody"),
        (("rmi", "nothing:here"), 1, "No such image: nothing:here"),
        (("tag", "nothing", "other"), 1, "No such image: nothing"),
        (("images", "--filter", "flavour=sweet"), 1, "invalid filter"),
        (("volume", "rm", "nothing"), 1, "no such volume"),
        (("network", "inspect", "nothing"), 1, "network nothing not found"),
    ],
)
def test_words(machine: Machine, words: tuple[str, ...], code: int, message: str) -> None:
    complaint = machine.fails(code, *words)
    assert_clear(complaint)
    assert message.lower() in complaint.lower()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("UPPER", "true"), "repository name (library/UPPER) must be lowercase"),
        (("busybox:", "true"), "invalid reference format"),
        (("-p", "99999:80", "busybox"), "invalid"),
        (("-p", "80:80:80:80:80", "busybox"), "invalid"),
        (("-p", "eighty:80", "busybox"), "invalid"),
        (("-p", "8000-8001:80-85", "busybox"), "invalid ranges specified for container and host ports"),
        (("-p", "80/sctq", "busybox"), "invalid"),
        (("-m", "lots", "busybox"), "invalid"),
        (("-m", "1k", "busybox"), "Minimum memory limit allowed is 6MB"),
        (("--cpus", "two", "busybox"), "invalid"),
        (("--cpus", "10000", "busybox"), "CPUs"),
        (("--memory-swap", "5m", "-m", "10m", "busybox"), "memory"),
        (("-v", "/a:/b:/c:/d", "busybox"), "invalid"),
        (("-v", "/a:b", "busybox"), "invalid"),
        (("-v", "/a:/b:sometimes", "busybox"), "invalid mode: sometimes"),
        (("-v", "bad name:/b", "busybox"), "invalid characters"),
        (("--mount", "type=bind,source=/tmp", "busybox"), "target is required"),
        (("--mount", "type=sponge,target=/x", "busybox"), "mount type"),
        (("--mount", "flavour=sweet", "busybox"), "unexpected key 'flavour'"),
        (("--tmpfs", "relative", "busybox"), "invalid mount path"),
        (("--name", "bad name", "busybox"), "Invalid container name (bad name)"),
        (("-u", "somebody", "busybox"), "unable to find user somebody"),
        (("-w", "relative", "busybox"), "invalid"),
        (("--network", "nowhere", "busybox"), "network nowhere not found"),
        (("--cap-add", "FLY", "busybox"), 'unknown capability: "CAP_FLY"'),
        (("--stop-signal", "NONSENSE", "busybox"), "invalid signal"),
        (("--ulimit", "nofile=5:2", "busybox"), "ulimit soft limit must be less than or equal to hard limit"),
        (("--ulimit", "files=5", "busybox"), "invalid ulimit type: files"),
        (("--platform", "linux/risc v", "busybox"), "platform"),
        (("--env-file", "/does/not/exist", "busybox"), "no such file or directory"),
        (("--pull", "rarely", "busybox"), "invalid pull option"),
        (("--add-host", "nocolon", "busybox"), "bad format for add-host"),
        (("--detach-keys", "ctrl-", "busybox"), "Invalid"),
    ],
)
def test_flags_of_run(machine: Machine, words: tuple[str, ...], message: str) -> None:
    complaint = machine.fails(125, *RUN, *words)
    assert_clear(complaint)
    assert message.lower() in complaint.lower()
    assert machine.containers() == []


def test_env_file_with_a_malformed_line(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("GOOD=1\nBAD NAME=2\n")
    complaint = machine.fails(125, *RUN, "--env-file", f"{tmp_path}/env", "busybox", "true")
    assert "contains whitespaces" in complaint


def test_no_registry_answers_and_the_hint_names_bootstrap(machine: Machine) -> None:
    complaint = machine.fails(125, *RUN, "debian:trixie", "true")
    assert "Unable to find image 'debian:trixie' locally" in complaint
    assert "hostvm bootstrap" in complaint


def test_pull_never(machine: Machine) -> None:
    complaint = machine.fails(125, *RUN, "--pull", "never", "nothing", "true")
    assert "No such image: nothing:latest" in complaint


def test_a_taken_name(machine: Machine) -> None:
    identity = machine("create", "--name", "taken", "busybox")
    complaint = machine.fails(125, "run", "--name", "taken", "busybox", "true")
    wanted = f'Conflict. The container name "/taken" is already in use by container "{identity}".'
    assert wanted in complaint
    assert machine.containers() == [identity]


def test_a_command_that_is_not_there(machine: Machine) -> None:
    complaint = machine.fails(127, *RUN, "busybox", "nonsense")
    assert 'exec: "nonsense": executable file not found in $PATH' in complaint
    complaint = machine.fails(127, *RUN, "busybox", "/no/such/file")
    assert 'exec: "/no/such/file": stat /no/such/file: no such file or directory' in complaint


def test_a_command_that_is_no_program(machine: Machine) -> None:
    complaint = machine.fails(126, *RUN, "busybox", "/etc/passwd")
    assert 'exec: "/etc/passwd": permission denied' in complaint
    assert_clear(machine.fails(126, *RUN, "busybox", "/etc"))


def test_no_command(machine: Machine) -> None:
    assert "no command specified" in machine.fails(125, *RUN, "--entrypoint", "", "busybox").lower()


def test_rmi_of_an_image_in_use(machine: Machine) -> None:
    machine("tag", "busybox", "other:1")
    machine("run", "-d", "--name", "user", "busybox", "sleep", "3600")
    assert "Untagged: other:1" in machine("rmi", "other:1")
    complaint = machine.fails(1, "rmi", "busybox")
    assert "conflict: unable to" in complaint and "is using its referenced image" in complaint
    assert machine("run", "--rm", "busybox", "echo", "still there") == "still there"


def test_a_socket_that_nobody_serves(machine: Machine, tmp_path: Path) -> None:
    result = machine.attempt("ps", environment={"HOSTVM_HOST": f"unix://{tmp_path}/none.sock"})
    assert result.code == 1
    assert "Cannot connect to the hostvm engine" in result.err and "Is the engine running?" in result.err


def test_only_root_starts_the_engine(machine: Machine, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o777)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    result = machine.command([*command, HOSTVM, "ps"], {"HOSTVM_RUN": f"{tmp_path}/run"})
    assert result.code == 1
    assert "root" in result.err and "hint:" in result.err


def test_others_may_not_use_the_socket(machine: Machine) -> None:
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    result = machine.command([*command, HOSTVM, "ps"])
    assert result.code == 1 and "permission denied" in result.err
    assert os.stat(machine.socket).st_mode & 0o007 == 0


# -- damaged surroundings, each with an engine of its own


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[engine\n", "config.toml"),
        ("[engine]\nflavour = 'sweet'\n", "flavour"),
        ("[engine]\nbridge = 5\n", "bridge"),
        ("[engine]\nsubnet = 'everywhere'\n", "subnet"),
        ("[logs]\ndriver = 'papyrus'\n", "error looking up logging plugin papyrus"),
    ],
)
def test_a_malformed_configuration(fresh_machine: MachineMaker, text: str, message: str) -> None:
    machine = fresh_machine()
    Path(machine.config).write_text(text)
    complaint = machine.fails(1, "ps")
    assert_clear(complaint)
    assert message in complaint
    machine.configure("")
    assert machine("ps", "-q") == ""


def test_a_damaged_database_is_set_aside(fresh_machine: MachineMaker) -> None:
    machine = fresh_machine("busybox")
    machine("run", "-d", "--name", "one", "busybox", "sleep", "3600")
    machine.signal(machine.engine_pid(), signal.SIGSTOP)  # so that it doesn't write over the damage
    for name in ("engine.db", "engine.db-wal"):
        machine.ask("overwrite", f"{machine.data}/{name}", 4096)
    machine.cut_power()
    result = machine.attempt("info")
    assert result.code == 0
    assert machine.names_inside(f"{machine.data}/set-aside")
    assert "set-aside" in result.out + result.err


def test_a_database_of_a_newer_version_is_refused(fresh_machine: MachineMaker) -> None:
    machine = fresh_machine("busybox")
    machine.stop()
    with machine.data_on_the_host() as data:
        version = raise_version(f"{data}/engine.db", 1000)
    complaint = machine.fails(1, "ps")
    assert_clear(complaint)
    assert "newer" in complaint
    machine.stop()
    with machine.data_on_the_host() as data:
        assert raise_version(f"{data}/engine.db", -1000) == version + 1000
    assert machine("images", "-q") != ""


def raise_version(path: str, by: int) -> int:
    """Changes a database's schema version; returns the one that it had."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        database.execute(f"PRAGMA user_version = {version + by}")
    assert isinstance(version, int)
    return version


def test_no_runtime(fresh_machine: MachineMaker) -> None:
    """Neither crun nor runc can be executed: what is missing, and the command that installs it."""
    machine = fresh_machine()
    hide = "for file in /usr/bin/crun /usr/sbin/runc; do [ ! -e $file ] || mount --bind /dev/null $file; done"
    result = machine.command(["unshare", "--mount", "sh", "-c", f'{hide}; exec "$@"', "sh", HOSTVM, "machine", "start"])
    assert result.code == 1
    assert result.err == "no OCI runtime: neither crun nor runc is installed\nhint: apt-get install crun\n"
    assert machine("ps", "-q") == ""


@pytest.fixture
def small_machine(fresh_machine: MachineMaker) -> Iterator[Machine]:
    """Its data folder is on a file system with 24 MB left."""
    machine = fresh_machine()
    with machine.little_space(24 << 20):
        yield machine
        clean(machine)


def test_a_full_disk_while_loading(small_machine: Machine) -> None:
    """The message names the cause, what was half done is gone, and with space it works."""
    machine = small_machine
    complaint = machine.fails(1, "load", "-i", images.archive("debian"))
    assert "no space left on device" in complaint.lower()
    assert machine("images", "-q") == ""
    assert set(machine.names_inside(f"{machine.data}/layers")) <= {"empty"}
    assert machine.names_inside(f"{machine.data}/tmp") == []
    machine("load", "-i", images.archive("busybox"))
    assert machine("run", "--rm", "busybox", "echo", "fine") == "fine"
