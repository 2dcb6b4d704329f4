"""Commit: what a container changed becomes a layer on top of its image."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from contextlib import aclosing

from guest_agent.engine.container import Container
from guest_agent.engine.creation import merge_config
from guest_agent.engine.instructions import apply_changes
from guest_agent.engine.mounting import make_working_dir
from guest_agent.engine.parts import Parts
from guest_agent.engine.requests import CommitRequest
from guest_agent.images.make import Recipe, make_image
from guest_agent.images.reference import parse_reference
from guest_agent.wire.models import ContainerConfig, ImageId, Origin


async def commit_container(parts: Parts, container: Container, request: CommitRequest) -> ImageId:
    """The new image's id; durable on return. Nothing is left behind where it fails."""
    await make_working_dir(parts, container)
    upper = parts.paths.upper(container.id)
    os.makedirs(upper, mode=0o755, exist_ok=True)
    parent = parts.images.get(container.image_id).config
    changed = apply_changes(request.config or container.config, request.changes)
    config = _image_config(merge_config(changed, container.config))
    recipe = Recipe(
        config=config,
        name=request.reference,
        parent=parent,
        created_by=" ".join(container.config.command or ()),
        author=request.author,
        comment=request.comment,
        created_ns=request.created_ns,
        origin=None if request.created_ns else Origin(container.id, container.config),
    )
    # Whoever says when wants the same image again: a container's id, and the times of its making, are never the same.
    latest = request.created_ns // 10**9 if request.created_ns else None
    async with aclosing(parts.layers.diff(upper, latest)) as layer:
        identity = await make_image(parts.images, recipe, layer)
    _announce(parts, container, request, identity)
    return identity


def _announce(parts: Parts, container: Container, request: CommitRequest, identity: ImageId) -> None:
    attributes = {"comment": request.comment, "imageID": identity}
    if request.reference:
        name = parse_reference(request.reference).with_default_tag().familiar
        labels = parts.images.get(identity).config.config.labels
        parts.events.publish("image", "tag", identity, {**labels, "name": name})
        attributes["imageRef"] = name
    parts.tell(container, "commit", **attributes)


def _image_config(config: ContainerConfig) -> ContainerConfig:
    """What belongs to one container only isn't part of an image."""
    cleared: dict[str, object] = {"hostname": "", "domainname": "", "image": "", "tty": False, "open_stdin": False}
    streams = ("stdin_once", "attach_stdin", "attach_stdout", "attach_stderr")
    cleared.update({"mac_address": "", **dict.fromkeys(streams, False)})
    replace: Callable[..., ContainerConfig] = dataclasses.replace
    return replace(config, **cleared)
