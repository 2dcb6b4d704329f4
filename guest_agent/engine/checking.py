"""`system check`: the records, what they promise, and what is on the disk, compared; every digest is verified.

What an image consists of can be fetched again from the registry that it came from; with `repair` that is tried, and
what can't be fetched is set aside, so that nothing damaged is ever run. Strays (folders and blobs that nothing refers
to) are what a crash may leave until the next start, which removes them; with `repair` they go at once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from guest_agent.engine.parts import Parts
from guest_agent.engine.table import ContainerTable
from guest_agent.images.repairing import fetch_documents, fetch_layer
from guest_agent.layers.store import SetAside
from guest_agent.store.files import set_aside
from guest_agent.store.paths import EnginePaths
from guest_agent.store.reading import records_set_aside
from guest_agent.wire.errors import HostvmError
from guest_agent.wire.models import DiffId, ImageId


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that isn't as it should be. `remedy` says what was done about it, "" = nothing."""

    what: str
    problem: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """How much was looked at; the last thing that a check tells."""

    images: int
    layers: int
    containers: int
    volumes: int


async def check(parts: Parts, repair: bool) -> AsyncIterator[Finding | Checked]:
    """Everything; takes as long as reading all layers does. The engine goes on serving meanwhile."""
    for part in (_records, _images, _layers, _strays, _containers, _volumes):
        async for finding in part(parts, repair):
            yield finding
    images, layers = len(parts.images.all()), len(parts.layers.known())
    yield Checked(images, layers, len(parts.table.all()), len(parts.volumes.list()))


async def _records(parts: Parts, repair: bool) -> AsyncIterator[Finding]:
    for kind, key in records_set_aside(parts.records):
        yield Finding(f"{kind} {key}", "its record can't be read", "the record was set aside when the engine started")


async def _images(parts: Parts, repair: bool) -> AsyncIterator[Finding]:
    for image_id, problem in await asyncio.to_thread(parts.images.records.damaged):
        remedy = ""
        if repair:
            remedy = await _mend_image(parts, image_id)
        yield Finding(f"image {image_id}", problem, remedy)
    for image_id, kind, problem in await asyncio.to_thread(parts.images.records.damaged_attachments):
        if repair:
            parts.images.records.detach(image_id, kind)
        yield Finding(f"{kind} of image {image_id}", problem, "it was removed; the image is whole" if repair else "")


async def _mend_image(parts: Parts, image_id: ImageId) -> str:
    """Its documents come from a registry; a malformed record, or a layer that is missing, doesn't."""
    try:
        source = await fetch_documents(parts.images, image_id, parts.registries)
        parts.images.reread(image_id)
    except HostvmError as error:
        parts.images.forget(image_id)
        return f"can't be mended ({error.message}): its record and its names were removed"
    return f"fetched again from {source}"


async def _layers(parts: Parts, repair: bool) -> AsyncIterator[Finding]:
    for diff_id in parts.layers.known():
        try:
            await asyncio.to_thread(parts.layers.verify, diff_id)
        except HostvmError as error:
            if not parts.layers.has(diff_id):
                continue  # somebody has removed it meanwhile
            remedy = await _mend_layer(parts, diff_id) if repair else ""
            yield Finding(f"layer {diff_id}", error.message, remedy)


async def _mend_layer(parts: Parts, diff_id: DiffId) -> str:
    """The damaged one is kept beside; containers that run go on with it."""
    aside = parts.layers.set_layer_aside(diff_id, parts.paths.set_aside)
    place = aside.tree or "nothing"
    if await _unpack_again(parts, aside, diff_id):
        return f"made again from its contents, which are whole; the damaged one is {place}"
    try:
        source = await fetch_layer(parts.images, diff_id, parts.registries)
    except HostvmError as error:
        images = parts.images.forget_layer(diff_id)
        names = ", ".join(images) or "no image"
        return f"can't be fetched ({error.message}): set aside as {place}, and with it {names}"
    return f"fetched again from {source}; the damaged one is {place}"


async def _unpack_again(parts: Parts, aside: SetAside, diff_id: DiffId) -> bool:
    """False where the contents are damaged, too: it has to come from somewhere else."""
    staging = parts.layers.stage()
    try:
        await asyncio.to_thread(parts.layers.unpack_again, aside, diff_id, staging)
        await parts.images.record_layers(staging)
    except HostvmError:
        return False
    finally:
        await asyncio.to_thread(staging.close)
    return True


async def _strays(parts: Parts, repair: bool) -> AsyncIterator[Finding]:
    strays = [*parts.layers.strays(), *parts.images.records.strays()]
    for finding in _report_strays(parts, strays, "nothing refers to it", repair):
        yield finding


def _report_strays(parts: Parts, paths: Sequence[str], problem: str, repair: bool) -> list[Finding]:
    """With `repair` they go at once, before anybody else has a turn: a stray of now may be in use later."""
    aside = parts.paths.set_aside
    return [Finding(path, problem, f"set aside as {set_aside(path, aside)}" if repair else "") for path in paths]


async def _containers(parts: Parts, repair: bool) -> AsyncIterator[Finding]:
    for container in parts.table.all():
        try:
            image = parts.images.get(container.image_id)
        except HostvmError as error:
            yield Finding(f"container {container.name}", error.message)
            continue
        for diff_id in image.config.diff_ids:
            if not parts.layers.has(diff_id):
                yield Finding(f"container {container.name}", f"layer {diff_id} of its image is missing")
    for finding in _report_strays(parts, stray_folders(parts.paths, parts.table), "no container has it", repair):
        yield finding


def stray_folders(paths: EnginePaths, table: ContainerTable) -> list[str]:
    """Folders that no container has at this moment, nor a record that can't be read.

    What has a bundle is in use or on its way: a build's step has no record, and the folder of a container that is being
    removed outlives its record.
    """
    known = {*(container.id for container in table.all()), *table.unreadable, *os.listdir(paths.bundles)}
    return [paths.container(name) for name in sorted(set(os.listdir(paths.containers)) - known)]


async def _volumes(parts: Parts, repair: bool) -> AsyncIterator[Finding]:
    for volume in parts.volumes.list():
        if not await asyncio.to_thread(os.path.isdir, volume.mountpoint):  # it may lie on a server that doesn't answer
            remedy = ""
            if repair:
                os.makedirs(volume.mountpoint, exist_ok=True)
                remedy = "an empty one was made"
            yield Finding(f"volume {volume.name}", f"its folder {volume.mountpoint} is missing", remedy)
    known = {volume.name for volume in parts.volumes.list()}
    for name in sorted(set(os.listdir(parts.paths.volumes)) - known):
        problem = f"no volume has it: `hostvm volume create {name}` takes it into use, with what is in it"
        yield Finding(f"{parts.paths.volumes}/{name}", problem)
