"""What a build has made, as files instead of an image."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from guest_agent.build.trees import ContextTree
from guest_agent.engine.build_context import read_tree
from guest_agent.engine.build_roots import build_root
from guest_agent.engine.parts import Parts
from guest_agent.wire.models import ImageId


async def export_files(parts: Parts, identity: ImageId) -> AsyncGenerator[bytes, None]:
    """The image's root as a tar. Raises NotFound."""
    config = parts.images.get(identity).config
    async with build_root(parts, config.diff_ids) as root, aclosing(parts.layers.export(root.path)) as pieces:
        async for piece in pieces:
            yield piece


async def open_files(parts: Parts, identity: ImageId) -> ContextTree:
    """The image's root, to be read in any order; who gets it closes it. Raises NotFound."""
    async with aclosing(export_files(parts, identity)) as chunks:
        return await read_tree(parts, chunks, owned=True)


async def drop_image(parts: Parts, identity: ImageId) -> None:
    """One that was made for its files only: it goes, unless it has a name or a user."""
    image = parts.images.get(identity)
    if image.tags or image.digests or any(one.image_id == identity for one in parts.table.all()):
        return
    await parts.images.remove(identity, False, {}, prune=False)
    parts.events.publish("image", "delete", identity, {"name": identity})
