"""Images made here: a layer's tar on top of a parent (commit), or alone (import)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from guest_agent.images.configs import encode_config
from guest_agent.images.contracts import LayerStaging
from guest_agent.images.platforms import Platform, host_platform
from guest_agent.images.reference import Reference, parse_reference
from guest_agent.images.store import ImageStore, NewImage
from guest_agent.store.threads import finish_in_thread, open_in_thread
from guest_agent.wire.errors import InvalidArgument, NotFound
from guest_agent.wire.models import ContainerConfig, DiffId, HistoryEntry, ImageConfig, ImageId, Origin
from guest_agent.wire.times import rfc3339_padded


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the image is to be. `name` "" leaves it without a name."""

    config: ContainerConfig
    name: str = ""
    parent: ImageConfig | None = None
    created_by: str = ""  #: of the layer, for `history`
    author: str = ""
    comment: str = ""
    platform: Platform | None = None  #: None = the parent's, or this machine's
    created_ns: int = 0  #: 0 = now
    origin: Origin | None = None


async def make_image(store: ImageStore, recipe: Recipe, layer: AsyncIterator[bytes]) -> ImageId:
    """Unpack `layer` (a tar, compressed or not) and record the image; durable on return.

    Raises InvalidArgument (name), NotFound (parent's layers), PeerMisbehaved (not a tar), HostFailed (disk full), with
    nothing left behind.
    """
    names = _names(recipe.name)
    staging = store.layers.stage()
    try:
        below = recipe.parent.diff_ids if recipe.parent else ()
        for diff_id in below:
            if not staging.reuse(diff_id):
                raise NotFound(f"layer {diff_id} of the parent image is missing")
        diff_id = await _unpack(staging, layer)
        new = NewImage(_config(recipe, (*below, diff_id)), names, parent=recipe.parent.id if recipe.parent else "")
        return await store.add(new, staging)
    finally:
        await finish_in_thread(staging.close)


async def _unpack(staging: LayerStaging, layer: AsyncIterator[bytes]) -> DiffId:
    unpacker = await open_in_thread(staging.unpacker, lambda opened: opened.abort())
    try:
        async for piece in layer:
            await finish_in_thread(unpacker.write, piece)
        return await finish_in_thread(unpacker.finish)
    finally:
        await finish_in_thread(unpacker.abort)


def _names(name: str) -> tuple[Reference, ...]:
    if not name:
        return ()
    reference = parse_reference(name).with_default_tag()
    if reference.digest:
        raise InvalidArgument("cannot use digest reference")
    return (reference,)


def _config(recipe: Recipe, diff_ids: tuple[DiffId, ...]) -> bytes:
    created = rfc3339_padded(recipe.created_ns or time.time_ns())
    entry = HistoryEntry(created, recipe.created_by, recipe.comment)
    history = (*(recipe.parent.history if recipe.parent else ()), entry)
    platform = recipe.platform or platform_of(recipe.parent)
    texts = created, recipe.author, recipe.comment
    return encode_config(platform, recipe.config, diff_ids, history, *texts, recipe.origin)


def platform_of(parent: ImageConfig | None) -> Platform:
    """The image's, or this machine's."""
    return Platform(parent.os, parent.architecture, parent.variant) if parent else host_platform()
