"""`cp` itself: which way, from where to where, and the request."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from posix import isatty

from guest_agent.wire.errors import HostvmError
from hostvm.cli.arguments import Arguments
from hostvm.cli.copy.packing import pack
from hostvm.cli.copy.paths import (
    End,
    absolute,
    check_output,
    find_destination,
    find_source,
    irregular,
    keep_ending,
    plan_copy,
    renamed,
    split,
    split_argument,
)
from hostvm.cli.copy.progress import CopyProgress
from hostvm.cli.copy.unpacking import unpack
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_bytes
from hostvm.cli.query import escape, with_query
from hostvm.client.connection import Answer
from hostvm.client.jsontext import loads_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context

#: Go's os.FileMode, which the engine's header has.
_GO_KINDS = {1 << 31: stat.S_IFDIR, 1 << 27: stat.S_IFLNK, 1 << 25: stat.S_IFIFO, 1 << 24: stat.S_IFSOCK}
_GO_DEVICE = 1 << 26


def cp(context: Context, arguments: Arguments) -> int:
    source, destination = arguments.positional
    if not source:
        raise Failure("source can not be empty")
    if not destination:
        raise Failure("destination can not be empty")
    (from_container, source_path), (to_container, destination_path) = map(split_argument, (source, destination))
    quiet = arguments.flag("quiet") if arguments.given("quiet") else not isatty(1)
    try:
        if from_container and to_container:
            raise Failure("copying between containers is not supported")
        if from_container:
            _Copy(context, from_container, arguments, quiet).fetch(source_path, destination_path)
        elif to_container:
            _Copy(context, to_container, arguments, quiet).send(source_path, destination_path)
        else:
            raise Failure("must specify at least one container source")
    except OSError as error:
        raise Failure(_of_the_system(error)) from error
    return 0


def _of_the_system(error: OSError) -> str:
    """As Go words it, with the path."""
    reason = (error.strerror or str(error)).lower()
    return f"lstat {error.filename}: {reason}" if error.filename else reason


class _Copy:
    """One copy to or from one container."""

    def __init__(self, context: Context, container: str, arguments: Arguments, quiet: bool) -> None:
        self._engine = context.engine
        self._container = container
        self._follow = arguments.flag("follow-link")
        self._with_owner = arguments.flag("archive")
        self._quiet = quiet

    # -- from the container

    def fetch(self, source: str, destination: str) -> None:
        if destination != "-":
            destination = absolute(destination)
            check_output(destination)
        source, rebase = self._followed(source) if self._follow else (source, "")
        answer = self._engine.open("GET", self._path(source))
        if destination == "-":
            for piece in answer.chunks():
                write_bytes(1, piece)
            return
        is_folder = stat.S_ISDIR(_mode_of(_path_stat(answer)))
        plan = plan_copy(End(source, is_folder=is_folder, rebase=rebase), find_destination(destination))
        progress = CopyProgress("Copying from container - ", self._quiet)
        own = split(source)[1]

        def rename(name: str) -> str:
            return plan.rename(name.replace(own, rebase, 1) if rebase else name)

        try:
            unpack(progress.counted(answer.chunks()), plan.folder, rename)
        finally:
            progress.clear()
        progress.done(destination)

    def _followed(self, path: str) -> tuple[str, str]:
        found = self._stat(path)
        if found is None or not stat.S_ISLNK(_mode_of(found)):
            return path, ""
        return renamed(path, _target_of(found, path))

    # -- to the container

    def send(self, source: str, destination: str) -> None:
        target = self._find_target(destination)
        path, body = self._from_stdin(target, destination) if source == "-" else self._from_here(source, target)
        progress = CopyProgress("Copying to container - ", self._quiet)
        query = self._path(path, noOverwriteDirNonDir=True, copyUIDGID=self._with_owner)
        try:
            self._engine.put(query, progress.counted(body))
        finally:
            progress.clear()
        progress.done(f"{self._container}:{target.path}")

    def _from_stdin(self, target: End, shown: str) -> tuple[str, Iterator[bytes]]:
        if not target.is_folder:
            raise Failure(f'destination "{self._container}:{shown}" must be a directory')
        return target.path, iter(lambda: os.read(0, 1 << 18), b"")

    def _from_here(self, source: str, target: End) -> tuple[str, Iterator[bytes]]:
        found = find_source(absolute(source), self._follow)
        plan = plan_copy(found, target)
        return plan.folder, pack(found, plan.rename)

    def _find_target(self, path: str) -> End:
        """What is at the path; a link is followed once, the engine has followed all after it."""
        found = self._stat(path)
        if found is not None and stat.S_ISLNK(_mode_of(found)):
            target = _target_of(found, path)
            found = self._stat(target)
        else:
            target = path
        if found is None:
            return End(target, exists=False)
        mode = _mode_of(found)
        if kind := irregular(mode):
            raise Failure(f'destination "{self._container}:{path}" must be a directory or a regular file: {kind}')
        return End(target, is_folder=stat.S_ISDIR(mode))

    # -- the engine

    def _stat(self, path: str) -> dict[str, object] | None:
        """None where nothing is known of it: whoever goes on from there is told by the engine."""
        try:
            return _path_stat(self._engine.open("HEAD", self._path(path)))
        except HostvmError:
            return None

    def _path(self, path: str, **more: bool) -> str:
        return with_query(f"/containers/{escape(self._container)}/archive", path=path or "/", **more)


def _path_stat(answer: Answer) -> dict[str, object]:
    return loads_object(base64.b64decode(answer.head.headers.get("x-docker-container-path-stat", "")))


def _mode_of(found: dict[str, object]) -> int:
    """st_mode's kind and permissions."""
    mode = found.get("mode")
    assert isinstance(mode, int)
    if mode & _GO_DEVICE:
        return stat.S_IFCHR | mode & 0o777
    kinds = [kind for bit, kind in _GO_KINDS.items() if mode & bit]
    return (kinds[0] if kinds else stat.S_IFREG) | mode & 0o777


def _target_of(found: dict[str, object], path: str) -> str:
    target = str(found.get("linkTarget") or "")
    return keep_ending(os.path.join(split(path)[0], target), path) if target else path
