"""What can be done to volumes, one method a verb."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from guest_agent.engine.parts import Parts
from guest_agent.engine.requests import VolumesPruned
from guest_agent.store.files import tree_size
from guest_agent.wire.errors import Conflict, NotFound
from guest_agent.wire.mounts import Volume


class VolumeVerbs:
    """The volume verbs of the engine."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._volumes = parts.volumes
        self._pruning = asyncio.Lock()

    def list(self) -> tuple[Volume, ...]:
        """By name."""
        return self._volumes.list()

    def find(self, name: str) -> Volume:
        """Raises NotFound."""
        return self._volumes.find(name)

    def create(self, name: str, driver: str, options: dict[str, str], labels: dict[str, str]) -> Volume:
        """The one of that name, made where there is none. Raises InvalidArgument, NotFound (driver)."""
        return self._volumes.create(name, driver, options, labels)

    def remove(self, name: str, force: bool) -> None:
        """Raises Conflict, NotFound."""
        self._volumes.remove(name, force)

    async def size(self, volume: Volume) -> int:
        """Bytes on disk."""
        return await asyncio.to_thread(_size_of, volume.mountpoint)

    async def prune(self, chosen: Iterable[Volume]) -> VolumesPruned:
        """Remove those that nobody uses and that are plain folders. Raises Conflict while another prune runs."""
        if self._pruning.locked():
            raise Conflict("a prune operation is already running")
        async with self._pruning:
            names, space = [], 0
            for volume in chosen:
                if volume.options or self._volumes.users_of(volume.name):
                    continue
                size = await self.size(volume)
                try:
                    self._volumes.remove(volume.name)
                except (Conflict, NotFound):
                    continue  # somebody was faster
                names.append(volume.name)
                space += size
        self._parts.events.publish("volume", "prune", "", {"reclaimed": str(space)})
        return VolumesPruned(tuple(names), space)


def _size_of(path: str) -> int:
    try:
        return tree_size(path)
    except FileNotFoundError:
        return 0
