"""A real terminal (a pty) with a command line in it: keys go in, what a person would see comes out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from tests.behaviour.harness.waiting import PATIENCE, patience


class Terminal:
    """`with Terminal(argv, environment) as terminal:`; the process is killed at the end if it is still there."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], rows: int = 24, columns: int = 80) -> None:
        self._master, slave = pty.openpty()
        self.resize(rows, columns)
        # setsid --ctty: the pty becomes the controlling terminal, so that keys and resizes turn into signals.
        command = ["setsid", "--ctty", "--wait", *argv]
        terminal = {**environment, "TERM": "xterm"}
        self.process = subprocess.Popen(command, env=terminal, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.seen = ""
        self._read_up_to = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def type(self, keys: str) -> None:
        """Presses keys: "\\x03" is ctrl-c, "\\x10\\x11" ctrl-p ctrl-q, "\\r" enter."""
        os.write(self._master, keys.encode())

    def resize(self, rows: int, columns: int) -> None:
        """What a window manager does; the kernel tells the foreground processes (SIGWINCH)."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def expect(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """Waits until a regular expression matches what came since the last match."""
        deadline = time.monotonic() + patience(seconds)
        while True:
            match = re.compile(pattern, re.M).search(self.seen, self._read_up_to)
            if match:
                self._read_up_to = match.end()
                return match
            assert self._read(deadline), f"{pattern!r} didn't come; the terminal shows:\n{self.seen}"

    def wait(self, seconds: float = PATIENCE) -> int:
        """Reads the rest; the exit code."""
        deadline = time.monotonic() + patience(seconds)
        while self._read(deadline):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, deadline: float) -> bool:
        """One more piece of output; False when there will be none, or none came in time."""
        if not select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        piece = b""
        with contextlib.suppress(OSError):  # EIO: nobody holds the other end any more
            piece = os.read(self._master, 65536)
        self.seen += piece.decode(errors="replace").replace("\r\n", "\n")
        return bool(piece)
