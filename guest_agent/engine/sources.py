"""Where the source of a bind mount is for the engine: on the host itself, or below the machine's share.

In a machine a user's path means his own computer's, which is found below `files`. A symbolic link there leads to where
it would lead on the host, never to a path of the machine: the kernel resolves it with `files` as the root. A few paths
mean the machine all the same: the engine's socket by the names that docker's has, and the kernel's file systems.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from guest_agent.linux.paths import open_in_root
from guest_agent.wire.errors import Forbidden, HostFailed, HostvmError, InvalidArgument

_ENGINE_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
_OF_THE_KERNEL = ("/dev", "/proc", "/sys")
_MISSING = (errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class BindSources:
    """`files` is where the host's paths are, "" on the host itself; `socket` is the engine's own.

    `machine` is what the host calls the machine.
    """

    files: str
    socket: str
    machine: str = ""

    def find(self, source: str) -> str | None:
        """The path to mount; None where there is nothing. Raises Forbidden for what isn't shared, HostFailed."""
        own = self.plan_own(source)
        if "\0" in source:
            raise InvalidArgument(f"invalid mount path: {source!r}")
        try:
            if own is not None:
                os.stat(own)
                return own
            return self._resolve(source)
        except OSError as error:
            if error.errno in _MISSING:
                return None
            raise self._explain(source, error) from error

    def plan_own(self, source: str) -> str | None:
        """The path where it isn't a path of the share."""
        if not self.files:
            return source
        if source in _ENGINE_SOCKETS:
            return self.socket
        return source if any(source == root or source.startswith(f"{root}/") for root in _OF_THE_KERNEL) else None

    def need(self, source: str) -> str:
        """The same for a source that was there when the container was made."""
        found = self.find(source)
        if found is None:
            raise missing_source(source)
        return found

    def make(self, source: str) -> None:
        """A folder at `source`, with those above it that are missing."""
        try:
            os.makedirs(self._plan_new(source), exist_ok=True)
        except OSError as error:
            if self.files and error.errno == errno.EACCES:
                raise self._explain(source, error) from error
            raise InvalidArgument(
                f"error while creating mount source path '{source}': mkdir {source}: {error.strerror}"
            ) from error

    def _plan_new(self, source: str) -> str:
        """Below the deepest folder that exists."""
        head, rest = source, ""
        while (found := self.find(head)) is None and head != "/":
            head, _, name = head.rpartition("/")
            head, rest = head or "/", f"/{name}{rest}"
        return f"{found or ''}{rest}"

    def _resolve(self, source: str) -> str:
        descriptor = open_in_root(self.files, source, os.O_PATH)
        try:
            return os.readlink(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)

    def _explain(self, source: str, error: OSError) -> HostvmError:
        if self.files and error.errno in (errno.EACCES, errno.EPERM):
            return Forbidden(
                f"the path {source} is not shared with the machine",
                f"hostvm machine set --share {source} {self.machine}".strip(),
            )
        return HostFailed(f"can't reach {source}: {error.strerror}")


def missing_source(source: str) -> InvalidArgument:
    """In docker's words."""
    return InvalidArgument(f'invalid mount config for type "bind": bind source path does not exist: {source}')
