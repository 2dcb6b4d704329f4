"""A running container's hold on its volumes: mounted before the start, let go at the end, and told about."""

from __future__ import annotations

import contextlib

from guest_agent.engine.container import Container
from guest_agent.engine.parts import Parts
from guest_agent.wire.errors import NotFound
from guest_agent.wire.mounts import MountPoint, MountType


async def hold_volume(parts: Parts, container: Container, point: MountPoint) -> None:
    """The volume is there, with its file system. Raises NotFound, HostFailed, Forbidden."""
    await parts.volumes.hold(parts.volumes.find(point.name), container.id, parts.sources.find)


def tell_mounted(parts: Parts, container: Container, point: MountPoint) -> None:
    if point.type is not MountType.VOLUME:
        return
    parts.events.publish(
        "volume",
        "mount",
        point.name,
        {
            "container": container.id,
            "destination": point.destination,
            "driver": point.driver,
            "propagation": point.propagation,
            "read/write": str(not point.read_only).lower(),
        },
    )


def tell_unmounted(parts: Parts, container: Container, point: MountPoint) -> None:
    if point.type is MountType.VOLUME:
        parts.events.publish("volume", "unmount", point.name, {"container": container.id, "driver": point.driver})


async def let_go_of_volume(parts: Parts, container: Container, point: MountPoint) -> None:
    """The container doesn't run any more. Its file system goes with the last one that has it."""
    if point.type is not MountType.VOLUME:
        return
    with contextlib.suppress(NotFound):
        await parts.volumes.let_go(parts.volumes.find(point.name), container.id)
