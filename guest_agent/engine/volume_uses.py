"""A running container's hold on its volumes: mounted before the start, let go at the end, and told about."""

from __future__ import annotations

from guest_agent.engine.container import Container
from guest_agent.engine.parts import Parts
from guest_agent.wire.errors import NotFound
from guest_agent.wire.mounts import MountPoint, MountType


def use_volume(parts: Parts, container: Container, point: MountPoint) -> None:
    """The volume is there, with its file system. Raises NotFound, HostFailed, Forbidden."""
    parts.volumes.mount(parts.volumes.find(point.name), parts.sources.find)
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


def let_go_of_volume(parts: Parts, container: Container, point: MountPoint) -> None:
    """The container doesn't run any more. Its file system goes with the last one that does."""
    if point.type is not MountType.VOLUME:
        return
    parts.events.publish("volume", "unmount", point.name, {"container": container.id, "driver": point.driver})
    others = (parts.table.find(other) for other in parts.volumes.users_of(point.name) if other != container.id)
    if any(other.running for other in others):
        return
    try:
        parts.volumes.unmount(parts.volumes.find(point.name))
    except NotFound:
        return
