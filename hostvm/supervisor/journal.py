"""What the supervisor says: lines in supervisor.log, and what the guest's console said last."""

from __future__ import annotations

import os
import sys
import time

from guest_agent.wire.errors import HostvmError
from hostvm.machines.vm.paths import MachinePaths

#: As much of the console as is worth showing.
_TAIL_LINES = 12
_TAIL_BYTES = 8192
#: How the kernel begins its last words (kernel/panic.c).
_PANIC = "Kernel panic"


def say(text: str) -> None:
    """One line, with the time; standard error is the log."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"{stamp} {text}", file=sys.stderr, flush=True)


def qemu_words(log: str) -> str:
    """The last line that QEMU itself has said, where nothing of ours follows but that it was started; "" else."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    while lines and lines[-1].endswith("-> starting (start)"):
        lines.pop()
    last = lines[-1] if lines else ""
    return printable(last) if last.startswith("qemu-system-") else ""


def console_tail(path: str) -> str:
    """The console's last lines, each indented; "" where it said nothing."""
    return "\n".join(f"  {line}" for line in worth_showing(_console_lines(path)))


def has_panicked(console: str) -> bool:
    """Whether the guest's kernel has given up."""
    return any(_PANIC in line for line in _console_lines(console))


def worth_showing(lines: list[str]) -> list[str]:
    """A panic from its first line on, which says why; the registers at its end don't. Else the last lines."""
    panics = [number for number, line in enumerate(lines) if _PANIC in line]
    start = panics[-1] if panics else max(0, len(lines) - _TAIL_LINES)
    return lines[start : start + _TAIL_LINES]


def _console_lines(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [printable(line) for line in text.splitlines() if line.strip()]


def printable(line: str) -> str:
    """The guest isn't trusted with the user's terminal."""
    return "".join(character if character.isprintable() else " " for character in line).rstrip()


def with_console(message: str, path: str) -> str:
    """The message, and below it what the console said last."""
    tail = console_tail(path)
    return f"{message}\nthe console's last lines:\n{tail}" if tail else message


def explain_boot(error: HostvmError, stage: str, files: MachinePaths, name: str) -> None:
    """A boot that came to nothing: how far it was, what QEMU and the console said last, where to look."""
    words = qemu_words(files.log)
    message = f"{error.message} (stage: {stage})" + (f": {words}" if words else "")
    error.message = with_console(message, files.console)
    error.hint = error.hint or f"`hostvm machine logs {name}` shows more, `hostvm doctor` looks for the cause"
