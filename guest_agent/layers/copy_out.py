"""Helper process: a path of a container -> its description and, unless only that is wanted, its tar.

Argument: {"view": View, "path": as the user named it, "only_stat": bool}. On standard output a line of JSON (see
`path_stat`), then the tar. The report, {} or {"kind", "message"}, goes to standard error.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

from guest_agent.layers import child
from guest_agent.layers.pack import TreePacker
from guest_agent.layers.path_stat import absolute, base_name, stat_path
from guest_agent.layers.view import enter_view, read_view


class PathPacker(TreePacker):
    """Packs the one path. `begin` enters the folder where it is, and is to be called first."""

    def __init__(self, output: BinaryIO) -> None:
        super().__init__(output, whiteouts=False, userxattr=False)
        self._start = "."
        self._prefix = ""

    def begin(self, path: str) -> None:
        """Of an absolute path. A link is packed as a link, unless a slash follows it."""
        if stat.S_ISDIR(os.lstat(path).st_mode):
            os.chdir(path)
            self._prefix = base_name(path)
        else:
            folder, self._start = os.path.split(path)
            os.chdir(folder)

    def _walk(self) -> Iterator[str]:
        return super()._walk() if self._start == "." else iter((self._start,))

    def _shown(self, name: str) -> str:
        if not self._prefix:
            return name
        return f"{self._prefix.rstrip('/')}/{'' if name == '.' else name}"


def describe(path: str) -> dict[str, Any]:
    """A line for standard output, or the report of why there is none."""
    try:
        return {"stat": stat_path(absolute(path))}
    except FileNotFoundError:
        return {"kind": "not-found", "message": path}
    except OSError as error:
        return child.describe(error, f"lstat {absolute(path)}")


def main() -> None:
    arguments = json.loads(sys.argv[1])
    child.exit_when_unread(1)
    path = arguments["path"]
    packer = PathPacker(sys.stdout.buffer)
    report: dict[str, Any] = {}
    try:
        enter_view(read_view(arguments["view"]))
        found = describe(path)
        if "stat" not in found:
            report = found
        else:
            sys.stdout.buffer.write(json.dumps(found["stat"]).encode() + b"\n")
            sys.stdout.buffer.flush()
            if not arguments["only_stat"]:
                packer.begin(absolute(path))
                packer.pack()
    except OSError as error:
        report = {**child.describe(error, f"read {packer.where!r}"), "kind": "host-failed"}
    os.write(2, json.dumps(report).encode())
    os._exit(bool(report))


if __name__ == "__main__":
    main()
