"""`machine logs`: the guest's console, what its programs say, and what the supervisor says."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure
from hostvm.cli.machine_choice import choose, existing_machine
from hostvm.cli.output import write_bytes
from hostvm.machines.vm.paths import MachinePaths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context

SOURCES = ("console", "guest", "supervisor")
#: Seconds between two looks at the files; a file's end can't be waited for in the same way on Linux and macOS.
_INTERVAL = 0.2
_CHUNK = 1 << 16


def logs(context: Context, arguments: Arguments) -> int:
    choose(context.settings, arguments.positional)
    machine = existing_machine(context.settings, "logs")
    sources = arguments.texts("source") or list(SOURCES)
    count = parse_count(arguments.text("tail"))
    files = [LogFile(find_path(machine.paths, source)) for source in sources]
    for source, file in zip(sources, files, strict=True):
        _show(source if len(files) > 1 else "", last_lines(file.read(), count))
    while arguments.flag("follow"):
        time.sleep(_INTERVAL)
        for source, file in zip(sources, files, strict=True):
            _show(source if len(files) > 1 else "", file.read())
    return 0


def find_path(paths: MachinePaths, source: str) -> str:
    """Where a log is. Raises Failure."""
    known = {"console": paths.console, "guest": paths.guest_log, "supervisor": paths.log}
    if source not in known:
        raise Failure(f"there is no log {source!r}", 125, f"there are {', '.join(SOURCES)}")
    return known[source]


def parse_count(text: str) -> int:
    """Lines to show; -1 for all. Raises Failure."""
    if text == "all":
        return -1
    if not (text.isascii() and text.isdigit()):
        raise Failure(f'invalid value for --tail: "{text}"', 125, 'write a number, or "all"')
    return int(text)


def last_lines(data: bytes, count: int) -> bytes:
    """The last `count` lines; all of them for -1."""
    if count < 0:
        return data
    return b"".join(data.splitlines(keepends=True)[-count:] if count else [])


@dataclass
class LogFile:
    """A file that grows, is cut when the machine starts afresh, or isn't there yet."""

    path: str
    _offset: int = field(default=0, init=False)
    _inode: int = field(default=0, init=False)

    def read(self) -> bytes:
        """What has come since the last call."""
        try:
            with open(self.path, "rb") as file:
                return self._read_rest(file.fileno())
        except FileNotFoundError:
            return b""

    def _read_rest(self, descriptor: int) -> bytes:
        status = os.fstat(descriptor)
        if status.st_ino != self._inode or status.st_size < self._offset:
            self._inode, self._offset = status.st_ino, 0
        parts = []
        while part := os.pread(descriptor, _CHUNK, self._offset):
            parts.append(part)
            self._offset += len(part)
        return b"".join(parts)


def _show(label: str, data: bytes) -> None:
    """Lines, each behind the name of its log where there is more than one."""
    if not label:
        write_bytes(1, data)
        return
    write_bytes(1, b"".join(b"%-10s | %s\n" % (label.encode(), line) for line in data.splitlines()))
