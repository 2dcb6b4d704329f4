"""The local volume driver: one folder a volume, its record in the database."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping

from guest_agent.store.codec import from_plain, to_plain
from guest_agent.store.documents import parse_document, render_document
from guest_agent.store.paths import EnginePaths
from guest_agent.store.records import Records
from guest_agent.wire.errors import Conflict, HostFailed, InvalidArgument, NotFound, Unsupported
from guest_agent.wire.mounts import Volume

_KIND = "volume"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


class Volumes:
    """All volumes.

    `users_of` tells which containers (ids) mount a volume; `discard` takes a folder out of sight at once.
    """

    def __init__(
        self, records: Records, paths: EnginePaths, users_of: Callable[[str], list[str]], discard: Callable[[str], None]
    ) -> None:
        self._records = records
        self._paths = paths
        self._users_of = users_of
        self._discard = discard

    def list(self) -> tuple[Volume, ...]:
        """By name."""
        return tuple(from_plain(Volume, parse_document(value)) for _name, value in self._records.items(_KIND))

    def find(self, name: str) -> Volume:
        """Raises NotFound."""
        value = self._records.get(_KIND, name)
        if value is None:
            raise NotFound(f"get {name}: no such volume")
        return from_plain(Volume, parse_document(value))

    def create(
        self,
        name: str,
        driver: str = "local",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        anonymous: bool = False,
    ) -> Volume:
        """Make it, or give the one that has the name already. The record stands before the folder does."""
        if driver not in ("", "local"):
            raise Unsupported(f'error looking up volume plugin {driver}: plugin "{driver}" not found')
        name = name or os.urandom(32).hex()
        if not _NAME.fullmatch(name):
            raise InvalidArgument(
                f'create {name}: "{name}" includes invalid characters for a local volume name, '
                'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. '
                "If you intended to pass a host directory, use absolute path"
            )
        if self._records.get(_KIND, name) is None:
            volume = Volume(
                name,
                self._paths.volume(name),
                time.time_ns(),
                "local",
                dict(labels or {}),
                dict(options or {}),
                anonymous,
            )
            self._records.put(_KIND, name, render_document(to_plain(volume)))
        return self._with_folder(self.find(name))

    def _with_folder(self, volume: Volume) -> Volume:
        """Its folder is there; where it can't be made, there is no volume either."""
        try:
            os.makedirs(volume.mountpoint, exist_ok=True)
        except OSError as error:
            self._records.delete(_KIND, volume.name)
            raise HostFailed(f"create {volume.name}: mkdir {volume.mountpoint}: {error.strerror}") from error
        return volume

    def remove(self, name: str, force: bool = False) -> None:
        """Delete the volume and what is in it. Conflict while a container has it, NotFound unless `force`."""
        try:
            volume = self.find(name)
        except NotFound:
            if force:
                return
            raise
        users = self._users_of(name)
        if users:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        self._records.delete(_KIND, name)
        self._discard(os.path.dirname(volume.mountpoint))
