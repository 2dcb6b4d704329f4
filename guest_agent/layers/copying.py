"""The engine's end of the helpers that read and write a container's files. Blocks; `abort` is for other threads."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator
from typing import IO, Any

from guest_agent.layers.helper import spawn
from guest_agent.layers.view import View
from guest_agent.wire.errors import HostvmError, Internal, error_from

_READ_SIZE = 256 << 10


class PathSource:
    """A path on its way out of a container. `stat` first, then `pieces`; `close` at any time, and at the end."""

    def __init__(self, view: View, path: str, only_stat: bool) -> None:
        arguments = {"view": view.to_json(), "path": path, "only_stat": only_stat}
        self._process = spawn("copy_out", arguments, subprocess.DEVNULL)
        self._rest = b""

    def stat(self) -> dict[str, Any]:
        """What `path_stat.stat_path` gives. Raises NotFound whose message is the path, and what the kernel said."""
        line, newline, self._rest = self._read_line().partition(b"\n")
        if not newline:
            raise self._failure()
        fields: dict[str, Any] = json.loads(line)
        return fields

    def _read_line(self) -> bytes:
        data = b""
        while b"\n" not in data and (piece := _pipe(self._process.stdout).read(_READ_SIZE)):
            data += piece
        return data

    def pieces(self) -> Generator[bytes, None, None]:
        """The tar. Raises what cut it off."""
        data = self._rest or _pipe(self._process.stdout).read(_READ_SIZE)
        while data:
            yield data
            data = _pipe(self._process.stdout).read(_READ_SIZE)
        if self._process.wait():
            raise self._failure()

    def _failure(self) -> HostvmError:
        return _error(_pipe(self._process.stderr).read(), self._process)

    def abort(self) -> None:
        """From any thread: whoever reads sees the end."""
        self._process.kill()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class PathTarget:
    """An archive on its way into a container: `write` what comes, then `finish`; `close` at any time."""

    def __init__(self, view: View, path: str, keep_kinds: bool, owner: tuple[int, int] | None) -> None:
        arguments = {"view": view.to_json(), "path": path, "keep_kinds": keep_kinds, "owner": owner}
        self._process = spawn("copy_in", arguments, subprocess.PIPE)
        self._stdin = _pipe(self._process.stdin)
        self._process.stdin = None  # ours to close: communicate() would flush a closed one

    def write(self, data: bytes) -> bool:
        """False where the helper has ended already: `finish` says why."""
        view = memoryview(data)
        try:
            while view:
                view = view[self._stdin.write(view) :]
        except BrokenPipeError:
            return False
        return True

    def finish(self) -> None:
        """Raises NotFound whose message is the path, InvalidArgument, PeerMisbehaved, HostFailed."""
        self._stdin.close()
        output, errors = self._process.communicate()
        if output != b"{}":
            raise _error(output or errors, self._process)

    def abort(self) -> None:
        """From any thread: whoever writes or waits sees that the helper has ended."""
        self._process.kill()

    def close(self) -> None:
        self._stdin.close()
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


def _error(report: bytes, process: subprocess.Popen[bytes]) -> HostvmError:
    try:
        fields = json.loads(report)
        return error_from(fields["kind"], fields["message"])
    except (ValueError, KeyError):
        last_line = report.decode(errors="replace").strip().rpartition("\n")[2]
        return Internal(f"the copying helper ended with status {process.poll()}: {last_line or 'no output'}")


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
