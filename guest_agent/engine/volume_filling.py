"""Volumes get the image's files as soon as a container that has them is made, and not only when it starts."""

from __future__ import annotations

from guest_agent.engine.container import Container
from guest_agent.engine.mounting import mounted_rootfs
from guest_agent.engine.parts import Parts
from guest_agent.volumes.fill import wants_filling
from guest_agent.wire.mounts import MountPoint


async def fill_new_volumes(parts: Parts, container: Container) -> None:
    """Of a container that isn't started yet. A volume with a file system of its own waits for the start."""
    wanted = [point for point in container.mount_points if point.fill and _waits(parts, point)]
    if not wanted:
        return
    async with mounted_rootfs(parts, container) as rootfs:
        for point in wanted:
            await parts.volumes.fill(point.name, rootfs, point.destination)


def _waits(parts: Parts, point: MountPoint) -> bool:
    return not parts.volumes.find(point.name).options and wants_filling(point.source)
