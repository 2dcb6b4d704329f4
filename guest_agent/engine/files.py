"""A container's files, in and out, and what it changed: for running containers and for stopped ones."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial

from guest_agent.engine.bundle import plan_container_mounts
from guest_agent.engine.container import Container
from guest_agent.engine.mounting import make_working_dir, mounted_rootfs
from guest_agent.engine.parts import Parts
from guest_agent.engine.requests import Change, ExtractRequest, PathStat
from guest_agent.engine.volume_uses import hold_volume, let_go_of_volume, tell_mounted, tell_unmounted
from guest_agent.layers.changes import find_changes
from guest_agent.layers.copying import PathSource, PathTarget
from guest_agent.layers.view import View, ViewMount
from guest_agent.runtime.users import resolve_user
from guest_agent.store.pieces import without_blocking
from guest_agent.store.threads import finish_in, open_in_thread
from guest_agent.wire.errors import NotFound
from guest_agent.wire.mounts import Mount, MountType


class Files:
    """The verbs on a container's files."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def stat(self, ref: str, path: str) -> PathStat:
        """What is at a path, a link itself. Raises NotFound in docker's words."""
        async with _view_of(self._parts, self._parts.table.find(ref)) as view:
            source = await _open_source(view, path, only_stat=True)
            try:
                return await _read_stat(source, ref)
            finally:
                await asyncio.to_thread(source.close)

    async def open_archive(self, ref: str, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        """The description and the tar; who has them MUST begin to iterate: that is what gives everything back."""
        container = self._parts.table.find(ref)
        async with AsyncExitStack() as stack:
            view = await stack.enter_async_context(_view_of(self._parts, container))
            source = await _open_source(view, path, only_stat=False)
            stack.push_async_callback(asyncio.to_thread, source.close)
            found = await _read_stat(source, ref)
            self._parts.tell(container, "archive-path")
            return found, _pieces(source, stack.pop_all())

    async def extract(self, request: ExtractRequest, chunks: AsyncIterator[bytes]) -> None:
        """Unpack a tar, compressed or not, into a folder. What was written before an error stays, as with docker."""
        container = self._parts.table.find(request.container)
        async with _view_of(self._parts, container) as view:
            owner = _find_owner(container, view, request)
            open_target = partial(PathTarget, view, request.path, request.keep_kinds, owner)
            target = await open_in_thread(open_target, PathTarget.close)
            try:
                await _write(target, chunks)
            except NotFound as error:
                raise _missing(error, request.container) from None
            finally:
                await asyncio.to_thread(target.close)
        self._parts.tell(container, "extract-to-dir")

    async def changes(self, ref: str) -> tuple[Change, ...]:
        """What the container changed below its image's root, sorted."""
        container = self._parts.table.find(ref)
        await make_working_dir(self._parts, container)
        layers = self._parts.layers
        image = self._parts.images.get(container.image_id)
        lower = [f"{layers.folder}/{name}" for name in layers.names(image.config.diff_ids)]
        upper = self._parts.paths.upper(container.id)
        if not os.path.isdir(upper):
            return ()
        found = await asyncio.to_thread(find_changes, upper, lower)
        return tuple(Change(change.path, change.kind) for change in found)


@asynccontextmanager
async def _view_of(parts: Parts, container: Container) -> AsyncIterator[View]:
    """What a helper sees of it, outer mounts first."""
    async with mounted_rootfs(parts, container) as root, _volumes_in_use(parts, container):
        planned = [mount for mount in plan_container_mounts(parts, container) if mount.type == "bind"]
        planned.sort(key=lambda mount: mount.destination.count("/"))
        mounts = tuple(ViewMount(mount.source, mount.destination, _is_read_only(mount)) for mount in planned)
        yield View(root, mounts, container.host_config.read_only_rootfs)


@asynccontextmanager
async def _volumes_in_use(parts: Parts, container: Container) -> AsyncIterator[None]:
    """A stopped container's volumes are mounted for the time; a running one has them."""
    points = [point for point in container.mount_points if point.type is MountType.VOLUME and not container.running]
    async with AsyncExitStack() as undo:
        for point in points:
            undo.push_async_callback(let_go_of_volume, parts, container, point)
            await hold_volume(parts, container, point)
            undo.callback(tell_unmounted, parts, container, point)
            tell_mounted(parts, container, point)
        yield


def _is_read_only(mount: Mount) -> bool:
    """Alone, or (`rro`) with what is mounted below."""
    return not {"ro", "rro"}.isdisjoint(mount.options)


async def _open_source(view: View, path: str, only_stat: bool) -> PathSource:
    return await open_in_thread(partial(PathSource, view, path, only_stat), PathSource.close)


async def _read_stat(source: PathSource, ref: str) -> PathStat:
    try:
        return PathStat(**await finish_in(None, source.stat, abort=source.abort))
    except NotFound as error:
        raise _missing(error, ref) from None


async def _pieces(source: PathSource, stack: AsyncExitStack) -> AsyncIterator[bytes]:
    async with stack, aclosing(without_blocking(source.pieces(), source.abort)) as pieces:
        async for piece in pieces:
            yield piece


async def _write(target: PathTarget, chunks: AsyncIterator[bytes]) -> None:
    async for chunk in chunks:
        if not await finish_in(None, partial(target.write, chunk), abort=target.abort):
            break
    await finish_in(None, target.finish, abort=target.abort)


def _find_owner(container: Container, view: View, request: ExtractRequest) -> tuple[int, int] | None:
    if not request.copy_owner or not container.config.user:
        return None
    user = resolve_user(view.root, container.config.user)
    return user.uid, user.gid


def _missing(error: NotFound, ref: str) -> NotFound:
    return NotFound(f"Could not find the file {error.message} in container {ref}")
