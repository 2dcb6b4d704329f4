"""The commands of the machine, as their user meets them: shell, copies, logs, settings, doctor, context."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.behaviour.conftest import PACES, MachineMaker
from tests.behaviour.harness.machine import HOSTVM
from tests.behaviour.harness.terminal import Terminal
from tests.behaviour.harness.vm import NAME, VmMachine
from tests.behaviour.harness.waiting import paced, patience, wait_for

#: Asks the agent at SSH_AUTH_SOCK for its keys (draft-miller-ssh-agent, 3.5); the guest has no ssh-add.
ASK_AGENT = (
    "import os, socket; s = socket.socket(socket.AF_UNIX); s.connect(os.environ['SSH_AUTH_SOCK']);"
    "s.sendall(b'\\0\\0\\0\\1\\x0b'); print(s.recv(4096))"
)


@pytest.fixture(scope="module")
def module_vm(make_machine: MachineMaker) -> Iterator[VmMachine]:
    with paced(PACES["vm"]):
        machine = make_machine("vm")
        assert isinstance(machine, VmMachine)
        machine("machine", "start")
        yield machine
        machine.stop()
        machine.check_stopped()


@pytest.fixture
def guest(machine_kind: str, module_vm: VmMachine) -> VmMachine:
    """One VM for all tests of this module; MUST be left running."""
    return module_vm


def inside(machine: VmMachine, *words: str) -> str:
    """A command's output by `machine ssh`."""
    return machine("machine", "ssh", NAME, "--", *words)


def at(machine: VmMachine, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`hostvm WORDS` of somebody who stands in the folder."""
    environment = {**machine.environment, "PWD": str(folder)}
    return subprocess.run(
        [HOSTVM, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=patience(),
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


# -- shell and ssh


def test_a_command_runs_where_its_user_stands(guest: VmMachine, tmp_path: Path) -> None:
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    (folder / "file").write_text("from the host\n")
    done = at(guest, folder, "machine", "ssh", "--", "pwd; cat file; echo from the guest >answer; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == (f"{folder}\nfrom the host\n", "", 7)
    assert (folder / "answer").read_text() == "from the guest\n"
    assert at(guest, Path("/usr"), "machine", "ssh", "--", "pwd").stdout == "/root\n"


def test_words_stay_apart_and_codes_are_kept(guest: VmMachine) -> None:
    assert inside(guest, "printf", "%s|", "a b", "$HOME", "it's") == "a b|$HOME|it's|"
    assert "not found" in guest.fails(127, "machine", "ssh", NAME, "--", "no-such-command")
    guest.fails(137, "machine", "ssh", NAME, "--", "sh", "-c", "kill -9 $$")
    assert guest.fails(3, "machine", "ssh", NAME, "--", "echo talk >&2; exit 3") == "talk\n"
    assert inside(guest, "ls /run/hostvm/ssh | grep pid- || echo none left").startswith("pid-")  # its own


def test_streams_are_whole_both_ways(guest: VmMachine) -> None:
    data = os.urandom(3_000_000)
    digest = hashlib.sha256(data).hexdigest()
    done = guest.attempt("machine", "ssh", NAME, "--", "sha256sum", stdin=data)
    assert done.out.split()[0] == digest
    with guest.start("machine", "ssh", NAME, "--", "cat") as process:
        out, _ = process.communicate(data, timeout=patience())
    assert hashlib.sha256(out).hexdigest() == digest


def test_a_script_on_standard_input(guest: VmMachine) -> None:
    done = guest.attempt("machine", "shell", NAME, stdin=b"echo one; exit 4")
    assert (done.out, done.code) == ("one\n", 4)


def test_a_shell_in_a_terminal(guest: VmMachine, terminal_of: Callable[[VmMachine], Callable[..., Terminal]]) -> None:
    with terminal_of(guest)("machine", "shell", NAME, rows=33, columns=99) as terminal:
        terminal.type("stty size; tty\r")
        terminal.expect(r"^33 99$")
        terminal.expect(r"^/dev/pts/\d+$")
        terminal.resize(40, 120)
        terminal.type("sleep 0.3; stty size\r")
        terminal.expect(r"^40 120$")
        terminal.type("echo begun; sleep 3600\r")
        terminal.expect(r"^begun$")
        terminal.type("\x03")
        terminal.expect("# ")  # what is typed before the prompt comes may be thrown away with it (termios(3), NOFLSH)
        terminal.type("echo still; echo here\r")
        terminal.expect(r"^still$")
        terminal.type("exit 6\r")
        assert terminal.wait() == 6


def test_a_signal_ends_the_command_in_the_guest(guest: VmMachine) -> None:
    def sleeping() -> bool:
        return bool(guest.inside(["/bin/sh", "-c", "ps | grep '[s]leep 98765'"]).stdout)

    with guest.start("machine", "ssh", NAME, "--", "sleep", "98765") as process:
        wait_for(sleeping, "the command in the guest")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=patience())
    assert process.returncode == 143
    wait_for(lambda: not sleeping(), "its end")


@contextmanager
def ssh_agent(folder: Path) -> Iterator[Mapping[str, str]]:
    """An agent with one key, whose comment is "a-key-of-mine"."""
    key, path = str(folder / "key"), str(folder / "agent")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a-key-of-mine", "-f", key], check=True)
    with subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL) as agent:
        wait_for(lambda: os.path.exists(path), "the agent")
        environment = {"SSH_AUTH_SOCK": path}
        subprocess.run(["ssh-add", "-q", key], env={**os.environ, **environment}, check=True)
        yield environment
        agent.terminate()


def test_the_ssh_agent_comes_along_when_it_is_asked_for(guest: VmMachine, tmp_path: Path) -> None:
    with ssh_agent(tmp_path) as environment:
        ask = ("--", "python3", "-c", ASK_AGENT)
        assert "a-key-of-mine" in guest("machine", "ssh", "-A", NAME, *ask, environment=environment)
        assert guest.attempt("machine", "ssh", NAME, *ask, environment=environment).code
    done = guest.attempt("machine", "ssh", "-A", NAME, "--", "true", environment={"SSH_AUTH_SOCK": ""})
    assert done.err.splitlines()[0] == "there is no ssh agent to forward"


def test_nothing_listens(guest: VmMachine) -> None:
    """Not in the guest, where a container could reach it, and not on the host, where another user could."""
    inside(guest, "true")
    table = inside(guest, "cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6")
    listening = re.compile(r"^ *\d+: ([0-9A-F]+:[0-9A-F]+) [0-9A-F]+:[0-9A-F]+ (0A|07) ", re.M)
    assert listening.findall(table) == []
    words = subprocess.run(["ss", "-Hlntp"], capture_output=True, text=True, check=True).stdout
    assert f"pid={guest.supervisor_pid()}," not in words and f"pid={guest.qemu_pid()}," not in words


def test_keys_are_the_users_own(guest: VmMachine) -> None:
    inside(guest, "true")
    keys = Path(guest.home, "keys")
    assert {path.name: path.stat().st_mode & 0o777 for path in keys.iterdir()} == {
        "guest_ed25519": 0o600, "user_ed25519": 0o600,
    }  # fmt: skip
    assert inside(guest, "stat -c %a /run/hostvm/ssh /run/hostvm/ssh/host_key").split() == ["700", "600"]


# -- copies


def test_files_and_folders_go_both_ways(guest: VmMachine, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "tool").write_text("#!/bin/sh\necho works\n")
    (source / "tool").chmod(0o755)
    (source / "inner" / "größe ü").write_bytes(os.urandom(300_000))
    (source / "link").symlink_to("inner")
    guest("machine", "cp", str(source), f"{NAME}:/tmp/copied")
    assert inside(guest, "/tmp/copied/tool; readlink /tmp/copied/link") == "works\ninner"
    guest("machine", "cp", f"{NAME}:/tmp/copied", str(tmp_path / "back"))
    assert subprocess.run(["diff", "-r", source, tmp_path / "back"]).returncode == 0
    guest("machine", "cp", f"{NAME}:/tmp/copied/tool", str(tmp_path))
    assert (tmp_path / "tool").stat().st_mode & 0o777 == 0o755
    guest("machine", "cp", f"{NAME}:/proc/version", str(tmp_path / "version"))
    assert (tmp_path / "version").read_text().startswith("Linux version")
    inside(guest, "rm -r /tmp/copied")


def test_what_cant_be_copied_is_named(guest: VmMachine, tmp_path: Path) -> None:
    assert guest.fails(1, "machine", "cp", f"{NAME}:/no/such", str(tmp_path)) == (
        "hostvm: /no/such: no such file or folder in the machine\n"
    )
    assert "no such file or folder" in guest.fails(1, "machine", "cp", str(tmp_path / "none"), f"{NAME}:/tmp/")
    (tmp_path / "file").write_text("")
    assert "/proc/x in the machine: " in guest.fails(1, "machine", "cp", str(tmp_path / "file"), f"{NAME}:/proc/x")


# -- logs, doctor, context


def test_logs(guest: VmMachine) -> None:
    everything = guest("machine", "logs", NAME)
    assert re.search(r"^guest +\| .*serving on ", everything, re.M)
    assert re.search(r"^supervisor +\| .*running", everything, re.M)
    with guest.start("machine", "logs", "-f", "-n", "0", "--source", "console", NAME) as following:
        assert following.stdout
        script = "for n in 1 2 3 4 5 6 7 8 9; do echo a line of the guest >/dev/console; sleep 0.3; done"
        guest.inside(["/bin/sh", "-c", script])
        following.terminate()
        assert b"a line of the guest" in following.communicate(timeout=patience())[0]


def test_doctor_finds_nothing_broken(guest: VmMachine) -> None:
    told = guest("doctor")
    assert not re.search(r"^FAIL", told, re.M)
    for subject in ("QEMU", "guest image", "supervisor", "guest's clock", "guest's data disk", "engine in the guest"):
        assert re.search(rf"^ok +{subject}", told, re.M), told


def test_doctor_finds_the_clock_off(guest: VmMachine) -> None:
    """Until the supervisor sets it, which it does by itself."""
    told = wait_for(lambda: doctor_of_a_clock_ahead(guest), "doctor, before the supervisor has set the clock")
    assert re.search(r"^FAIL guest's clock: it is off by \+7[12]\d\d seconds\n +hint: ", told, re.M)
    wait_for(lambda: guest.attempt("doctor").code == 0, "the clock to be set")


def doctor_of_a_clock_ahead(guest: VmMachine) -> str:
    """Empty where doctor found nothing."""
    guest.inside(["/bin/sh", "-c", "date -s @$(($(date +%s) + 7200))"])
    told = guest.attempt("doctor")
    return told.out if told.code else ""


def test_a_bundle_has_what_helps_and_no_keys(guest: VmMachine, tmp_path: Path) -> None:
    inside(guest, "true")
    guest.inside(["/bin/sh", "-c", "echo 'Authorization: Bearer hunter2hunter2' >/dev/console"])
    wait_for(lambda: "hunter2" in Path(f"{guest.home}/console.log").read_text(), "QEMU to write the line down")
    guest("doctor", "--bundle", str(tmp_path / "report.tar.gz"))
    with tarfile.open(tmp_path / "report.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data") if hasattr(tarfile, "data_filter") else archive.extractall(tmp_path)
    texts = {path.name: path.read_text() for path in (tmp_path / "hostvm-bundle").iterdir()}
    assert {"LISTING.txt", "findings.txt", "console.log", "guest.log", "supervisor.log", "machine.json"} <= set(texts)
    everything = "".join(texts.values())
    assert "Authorization: <redacted>" in texts["console.log"]
    assert "hunter2" not in everything and "PRIVATE KEY" not in everything and "ssh-ed25519" not in everything
    assert "serving on" in texts["guest.log"]


def test_docker_finds_the_machine_by_its_context(guest: VmMachine) -> None:
    assert guest("machine", "context", NAME) == f"hostvm-{NAME}"
    environment = {"DOCKER_HOST": ""}
    done = guest.command(["docker", "--context", f"hostvm-{NAME}", "version", "-f", "{{.Server.Os}}"], environment)
    assert done.out == "linux\n", done
    shown = guest("env", "--shell", "bash")
    assert shown == f"export DOCKER_HOST=unix://{guest.socket}"
    guest("machine", "context", "--rm", NAME)
    assert guest.command(["docker", "--context", f"hostvm-{NAME}", "version"], environment).code


def test_another_user_cant_reach_it(guest: VmMachine) -> None:
    """Neither the engine nor what stands for root in the guest: the control socket, and the keys."""
    script = (
        "for path; do cat $path || perl -MSocket -e 'socket S,1,1,0; connect(S,sockaddr_un($ARGV[0])) or die' $path"
    )
    paths = [
        guest.socket,
        f"{guest.sockets}/control.sock",
        f"{guest.sockets}/qmp.sock",
        f"{guest.home}/keys/user_ed25519",
    ]
    words = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c"]
    for path in paths:
        done = guest.command([*words, f"{script}; done", "sh", path])
        assert done.code and "ermission denied" in done.err, done


# -- several machines, and their settings


def test_a_second_machine_from_its_making_to_its_end(guest: VmMachine, tmp_path: Path) -> None:
    assert guest("machine", "create", "work", "--memory", "700m", "--disk", "2", "--share", str(tmp_path)) == "work"
    assert "is no machine" not in guest("machine", "ls")
    assert "there is a machine named 'work' already" in guest.fails(1, "machine", "create", "work")
    assert guest("machine", "inspect", "-f", "{{.State}} {{.Disk}}", "work") == f"stopped {2 << 30}"
    assert guest("-m", "work", "machine", "start") == "work"
    assert guest("machine", "ls", "--format", "{{.Name}} {{.State}}").splitlines() == [
        "native stopped", f"{NAME} running", "work running",
    ]  # fmt: skip
    total = int(guest("machine", "ssh", "work", "--", "grep MemTotal /proc/meminfo").split()[1])
    assert 500 << 10 < total < 700 << 10
    guest("-m", "work", "volume", "create", "kept")
    assert guest("volume", "ls", "-q") == ""

    assert "is running" in guest.fails(1, "machine", "rm", "work")
    said = guest.attempt("machine", "set", "work", "--disk", "3", "--memory", "800m", "--idle", "1h")
    assert (said.code, said.out) == (0, "work\n") and "machine restart work" in said.err
    assert guest("machine", "restart", "work") == "work"
    pages = int(guest("machine", "ssh", "work", "--", "df -k /var/lib/hostvm | tail -n 1").split()[1])
    assert 2.5 * (1 << 20) < pages < 3 << 20
    assert guest("-m", "work", "volume", "ls", "-q") == "kept"
    assert "can't shrink" in guest.fails(1, "machine", "set", "work", "--disk", "2")

    assert guest("machine", "stop", "work") == "work"
    assert guest("machine", "inspect", "-f", "{{.State}}", "work") == "suspended"
    guest.fails(1, "machine", "reset", "work")
    assert guest("machine", "reset", "-f", "work") == "work"
    assert guest("-m", "work", "volume", "ls", "-q") == ""
    assert guest("machine", "inspect", "-f", "{{.Disk}}", "work") == str(3 << 30)
    assert guest("machine", "rm", "-f", "work") == "work"
    assert not Path(guest.folder, "data/machines/work").exists()
    assert not Path(guest.folder, "run/machines/work").exists()
    assert "there is no machine named 'work'" in guest.fails(1, "machine", "stop", "work")


def test_a_machine_goes_though_its_supervisor_was_killed(guest: VmMachine) -> None:
    guest("machine", "create", "lone", "--memory", "700m", "--disk", "2")
    guest("machine", "start", "lone")
    status = json.loads(guest("machine", "inspect", "lone"))[0]["Status"]
    os.kill(status["pid"], signal.SIGKILL)
    wait_for(lambda: guest("machine", "inspect", "-f", "{{.State}}", "lone") != "running", "its supervisor's end")
    told = guest.attempt("machine", "doctor", "lone").out
    assert re.search(rf"^warn supervisor: .*left its QEMU \(pid {status['qemu']}\) running", told, re.M), told
    guest("machine", "rm", "-f", "lone")
    assert not os.path.exists(f"/proc/{status['qemu']}/exe")


def test_what_is_shared_is_seen_in_a_shell_at_once(guest: VmMachine, tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))  # beside what the tests' machines share
    try:
        (folder / "file").write_text("seen\n")
        assert at(guest, folder, "machine", "ssh", "--", "pwd").stdout == "/root\n"
        guest("machine", "set", "--share", str(folder), NAME)
        assert at(guest, folder, "machine", "ssh", "--", "pwd; cat file").stdout == f"{folder}\nseen\n"
        guest("machine", "set", "--unshare", str(folder), NAME)
        assert at(guest, folder, "machine", "ssh", "--", "pwd").stdout == "/root\n"
    finally:
        shutil.rmtree(folder)
