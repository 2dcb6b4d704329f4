"""What the guest's shell is told: the script that becomes sshd, and the line that runs a command where its user stands.

The lines are run by this host's /bin/sh, with the guest's folders moved to a temporary one.
"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest

from guest_agent.wire.errors import Unavailable
from hostvm.machines.ssh.keys import make_key_pair
from hostvm.machines.vm import secure_shell
from hostvm.machines.vm.secure_shell import plan_command, plan_documents, plan_signal, wait_ready


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the guest has the shared folders."""
    monkeypatch.setattr(secure_shell, "SHARED_FILES", str(tmp_path / "files"))
    return tmp_path / "files"


def run(line: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, cwd=home, timeout=10)


def test_a_command_runs_where_its_user_stands(files: Path, tmp_path: Path) -> None:
    folder = tmp_path / "it's a folder"
    (files / str(folder)[1:]).mkdir(parents=True)
    assert run(plan_command(str(folder), ["pwd"]), tmp_path).stdout.strip() == f"{files}{folder}"
    folder.symlink_to(f"{files}{folder}")
    assert run(plan_command(str(folder), ["pwd"]), tmp_path).stdout.strip() == str(folder)


def test_in_a_folder_that_isnt_shared_it_runs_at_home(files: Path, tmp_path: Path) -> None:
    """Also where the guest has a folder of that name itself."""
    assert run(plan_command("/etc", ["pwd"]), tmp_path).stdout.strip() == str(tmp_path)


@pytest.mark.parametrize(
    ("command", "output", "code"),
    [
        (["echo a | tr a b; exit 3"], "b\n", 3),
        (["printf", "%s|", "a b", "$HOME", "it's"], "a b|$HOME|it's|", 0),
        (["sh", "-c", "kill -9 $$"], "", 137),
        (["no-such-command", "x"], "", 127),
    ],
)
def test_words_and_codes(files: Path, tmp_path: Path, command: list[str], output: str, code: int) -> None:
    for pid_file in ("", str(tmp_path / "pid")):
        done = run(plan_command("/", command, pid_file), tmp_path)
        assert (done.stdout, done.returncode) == (output, code)
        assert not (tmp_path / "pid").exists()


def test_a_signal_finds_the_command(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    line = plan_command("/", ["sleep", "60"], str(pid_file))
    process = subprocess.Popen(["/bin/sh", "-c", line], start_new_session=True)
    deadline = time.monotonic() + 10
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    run(plan_signal(str(pid_file), "TERM"), tmp_path)
    assert process.wait(10) in (-15, 143)
    assert not pid_file.exists()


def test_the_script_takes_the_keys_and_becomes_sshd(tmp_path: Path) -> None:
    """Every byte after the documents is sshd's, whatever the shell has read ahead."""
    sshd = tmp_path / "sshd"
    sshd.write_text('#!/bin/sh\nprintf "SSH:%s:" "$*"; cat\n')
    sshd.chmod(0o755)
    folder, share = tmp_path / "ssh", tmp_path / "my share"
    script = secure_shell._SCRIPT.replace(secure_shell.FOLDER, str(folder)).replace("/usr/sbin/sshd", str(sshd))
    script = script.replace("/run/sshd", str(tmp_path / "run"))
    host_key, user_key = make_key_pair(), make_key_pair()
    ours, theirs = socket.socketpair()
    with ours, subprocess.Popen(["/bin/sh", "-c", script], stdin=theirs.fileno(), stdout=theirs.fileno()) as process:
        theirs.close()
        ours.sendall(plan_documents(host_key, user_key, (str(share),)) + b"client's banner")
        wait_ready(ours, time.monotonic() + 10)
        ours.shutdown(socket.SHUT_WR)
        told = b"".join(iter(lambda: ours.recv(1 << 16), b""))
        assert process.wait(10) == 0
    assert told == b"SSH:-i -f config -E log:client's banner"
    assert (folder / "host_key").read_text() == host_key.private
    assert (folder / "authorized_keys").read_text() == user_key.public + "\n"
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    assert os.readlink(share) == f"{secure_shell.SHARED_FILES}{share}"


def test_a_script_that_fails_says_why() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"sh: can't create config: Read-only file system\n")
    theirs.close()
    with pytest.raises(Unavailable, match="can't be started: sh: can't create config: Read-only file system"):
        wait_ready(ours, time.monotonic() + 5)
    ours.close()
