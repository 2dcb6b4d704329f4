"""Starting, ending and weighing processes that a benchmark runs."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence


class CommandFailed(RuntimeError):
    """A command of the benchmark failed: its pasteable line, status and last output."""


def run(argv: Sequence[str], environment: Mapping[str, str] | None = None, stdin: bytes = b"") -> str:
    """The command's standard output. Raises CommandFailed for a status other than 0."""
    done = subprocess.run(argv, env=environment, input=stdin, capture_output=True, timeout=300, check=False)
    if done.returncode:
        output = (done.stdout + done.stderr).decode(errors="replace")[-2000:]
        raise CommandFailed(f"{shlex.join(argv)}\nended with {done.returncode}: {output}")
    return done.stdout.decode().strip()


def wait_until_answers(argv: Sequence[str], environment: Mapping[str, str] | None, seconds: float) -> None:
    """Repeats a command until it succeeds. Raises its CommandFailed once `seconds` are over."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            run(argv, environment)
            return
        except CommandFailed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def end(process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """SIGTERM, a deadline, then SIGKILL."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def command_line(pid: int) -> list[str]:
    """The words of a process's argv; empty for a kernel thread or one that has ended."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [word.decode(errors="replace") for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def pids_that_name(text: str) -> Iterator[int]:
    """Processes that have `text` somewhere in their command line, this one excepted."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and any(text in word for word in command_line(int(name))):
            yield int(name)


def end_all_that_name(text: str) -> None:
    """Kills what a peer left behind; `text` is the benchmark's own scratch folder."""
    for pid in pids_that_name(text):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def proportional_set_size(pid: int) -> int:
    """Bytes of memory that a process stands for, shared pages divided among their users (PSS)."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0
