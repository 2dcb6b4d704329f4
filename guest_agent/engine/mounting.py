"""A container's root file system for the engine's own eyes: export, archives."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from guest_agent.engine.container import Container, Status
from guest_agent.engine.parts import Parts
from guest_agent.linux.mounts import mount_overlay, mounts_below, umount, umount_if_mounted
from guest_agent.linux.paths import make_folders
from guest_agent.store.paths import EnginePaths


@asynccontextmanager
async def mounted_rootfs(parts: Parts, container: Container) -> AsyncIterator[str]:
    """The folder of its root: the one it runs on, or a mount of its own for the time."""
    paths = parts.paths
    live = parts.table.live(container.id)
    if parts.table.find(container.id).running:  # by now: it may have been found some time ago
        with live.reading():
            yield paths.rootfs(container.id)
        return
    async with live.lock:  # two mounts of one upper folder are undefined behaviour (overlayfs.rst)
        await live.cleared()
        async with _own_mount(parts, container) as target:
            yield target


async def make_working_dir(parts: Parts, container: Container) -> None:
    """docker makes it with the container. The runtime would at the start, and before that only who looks can tell:
    whoever mounts the root has it made, and who reads the changes without a mount MUST call this.
    """
    if container.state.status is Status.CREATED and container.config.working_dir:
        async with mounted_rootfs(parts, container):
            pass


def drop_left_mounts(paths: EnginePaths) -> None:
    """At start-up: a killed engine's own mounts are still there, since the keeper holds the mount namespace.

    MUST happen before anything below `temporary` is removed: whatever is removed through such a mount is gone from the
    container that it shows.
    """
    for target in mounts_below(paths.temporary):
        umount(target)


@asynccontextmanager
async def _own_mount(parts: Parts, container: Container) -> AsyncIterator[str]:
    paths = parts.paths
    target = f"{paths.temporary}/root-{secrets.token_hex(8)}"
    os.makedirs(target)
    image = parts.images.get(container.image_id)
    try:
        for folder in (paths.upper(container.id), paths.work(container.id)):
            os.makedirs(folder, mode=0o755, exist_ok=True)
        mount_overlay(
            parts.layers.names(image.config.diff_ids),
            paths.layers,
            paths.upper(container.id),
            paths.work(container.id),
            target,
        )
        if container.state.status is Status.CREATED and container.config.working_dir:
            make_folders(target, container.config.working_dir)
        yield target
    finally:
        umount_if_mounted(target)
        os.rmdir(target)
