"""The engine's end of the helper processes: the argv, the pipe, and what became of it.

Everything here blocks and is called from threads; one object is used by one thread at a time.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from typing import IO, Any

from guest_agent.wire.errors import HostvmError, Internal, error_from
from guest_agent.wire.models import DiffId

_READ_SIZE = 256 << 10
#: The most that an ordinary user may have (/proc/sys/fs/pipe-max-size).
_PIPE_SIZE = 1 << 20
_F_SETPIPE_SZ = getattr(fcntl, "F_SETPIPE_SZ", 1031)
_NO_SPACE_HINT = "free some space, or give hostvm a bigger disk (HOSTVM_DATA)"


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What became of a layer. Sizes in bytes: of the files' contents, and of the tar."""

    diff_id: DiffId
    size: int
    tar_size: int
    has_outline: bool


def spawn(module: str, arguments: dict[str, Any], stdin: int, outline: int = -1) -> subprocess.Popen[bytes]:
    """Start one of the helpers; it gets `outline`, a descriptor, under the same number."""
    passed = (outline,) if outline >= 0 else ()
    argv = [sys.executable, "-I", "-X", "utf8", "-m", f"guest_agent.layers.{module}", json.dumps(arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, stdin=stdin, stdout=pipe, stderr=pipe, bufsize=0, env={}, pass_fds=passed)


class UnpackProcess:
    """A layer being unpacked: `write` what arrives, then `finish`; or `abort`."""

    def __init__(self, root: str, outline: int, userxattr: bool, rootless: bool) -> None:
        """`outline` is a descriptor that the helper writes to; the caller closes its own."""
        arguments = {"root": root, "userxattr": userxattr, "rootless": rootless, "outline": outline}
        self._process = spawn("unpack", arguments, subprocess.PIPE, outline)
        self._stdin = _pipe(self._process.stdin)
        self._process.stdin = None  # ours to close: communicate() would flush a closed one
        self._collected = False
        fcntl.fcntl(self._stdin, _F_SETPIPE_SZ, _PIPE_SIZE)

    def write(self, data: bytes) -> None:
        """Hand over the next bytes; blocks while the helper is behind. Raises what the helper found."""
        view = memoryview(data)
        try:
            while view:
                view = view[self._stdin.write(view) :]
        except BrokenPipeError:
            self._result()
            raise Internal("the unpacking helper went away without a word") from None

    def finish(self) -> Unpacked:
        """The stream is complete."""
        report = self._result()
        return Unpacked(DiffId(report["diff_id"]), report["size"], report["tar_size"], report["outline"])

    def abort(self) -> None:
        """End it; fine at any time. Afterwards nothing writes into the folder any more."""
        if not self._collected:
            self._process.kill()
            self._collect()

    def _result(self) -> dict[str, Any]:
        output, errors = self._collect()
        try:
            report: dict[str, Any] = json.loads(output)
        except ValueError:
            raise _crash(self._process, errors) from None
        if "diff_id" not in report:
            raise _failure(report, "failed to register layer")
        return report

    def _collect(self) -> tuple[bytes, bytes]:
        self._stdin.close()
        self._collected = True
        return self._process.communicate()


class Measurement:
    """An overlay's upper folder -> which layer it is, by packing it into a hash, and its outline.

    The helper starts at once and waits, so that its start is over by the time that the folder is complete.
    """

    def __init__(self, root: str, outline: int, userxattr: bool) -> None:
        """`outline` is a descriptor that the helper writes to; the caller closes its own."""
        arguments = {"root": root, "whiteouts": True, "userxattr": userxattr, "outline": outline}
        self._process = spawn("pack", arguments, subprocess.PIPE, outline)

    def finish(self) -> Unpacked:
        """Nobody writes any more. Raises HostFailed."""
        output, errors = self._process.communicate(b"go")
        if self._process.returncode:
            raise _pack_failure(self._process, errors, "failed to commit the layer")
        report = json.loads(output)
        return Unpacked(DiffId(report["diff_id"]), report["size"], report["tar_size"], True)

    def abort(self) -> None:
        """End it; fine at any time."""
        self._process.kill()
        self._process.communicate()


def packed(root: str, whiteouts: bool, userxattr: bool, latest: int | None = None) -> Generator[bytes, None, None]:
    """The tar of a tree, piece by piece; no time in it is later than `latest`. Closing the iterator ends the helper."""
    arguments = {"root": root, "whiteouts": whiteouts, "userxattr": userxattr, "latest": latest}
    yield from _output(spawn("pack", arguments, subprocess.DEVNULL), "failed to write the archive")


def repacked(root: str, outline: int, diff_id: DiffId) -> Generator[bytes, None, None]:
    """The tar that a layer was made from, piece by piece; DataDamaged, at the end at the latest, if it isn't that."""
    arguments = {"root": root, "outline": outline, "diff_id": diff_id}
    yield from _output(spawn("repack", arguments, subprocess.DEVNULL, outline), f"layer {diff_id} is damaged")


def compare(root: str, skeleton: str, outline: int, diff_id: DiffId, userxattr: bool, rootless: bool) -> None:
    """Raises DataDamaged where a layer's tree isn't what its outline says. `skeleton` is a folder to be filled."""
    arguments = {"root": root, "skeleton": skeleton, "userxattr": userxattr, "rootless": rootless, "outline": outline}
    process = spawn("comparing", arguments, subprocess.DEVNULL, outline)
    output, errors = process.communicate()
    try:
        report: dict[str, Any] = json.loads(output)
    except ValueError:
        raise _crash(process, errors) from None
    if report:
        raise _failure(report, f"layer {diff_id} is damaged")


def _output(process: subprocess.Popen[bytes], doing: str) -> Generator[bytes, None, None]:
    try:
        while data := _pipe(process.stdout).read(_READ_SIZE):
            yield data
        _check_packed(process, doing)
    finally:
        process.kill()
        process.communicate()


def _check_packed(process: subprocess.Popen[bytes], doing: str) -> None:
    errors = _pipe(process.stderr).read()
    if process.wait():
        raise _pack_failure(process, errors, doing)


def _pack_failure(process: subprocess.Popen[bytes], errors: bytes, doing: str) -> HostvmError:
    try:
        report = json.loads(errors)
    except ValueError:
        return _crash(process, errors)
    return _failure(report, doing)


def _failure(report: dict[str, Any], doing: str) -> HostvmError:
    message = f"{doing}: {report['message']}"
    return error_from(report["kind"], message, _NO_SPACE_HINT if "no space left" in message else "")


def _crash(process: subprocess.Popen[bytes], errors: bytes) -> HostvmError:
    last_line = errors.decode(errors="replace").strip().rpartition("\n")[2]
    return Internal(f"the layer helper ended with status {process.returncode}: {last_line or 'no output'}")


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
