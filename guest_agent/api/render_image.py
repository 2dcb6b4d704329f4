"""Pure: an image to Docker's JSON, as `inspect`, as a line of `images`, and its history."""

from __future__ import annotations

from guest_agent.api.render_config import Json, render_config
from guest_agent.api.times import SECOND, parse_timestamp
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerConfig, HistoryEntry, Image


def render_image(image: Image, driver: str) -> Json:
    config = image.config
    rendered: Json = {
        "Id": config.id,
        "RepoTags": list(image.tags),
        "RepoDigests": list(image.digests),
        "Parent": image.parent,
        "Comment": config.comment,
        "Created": config.created,
        "Container": "",
        "ContainerConfig": render_config(ContainerConfig()),
        "DockerVersion": "",
        "Author": config.author,
        "Config": render_config(config.config),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Data": None, "Name": driver},
        "RootFS": {"Type": "layers", "Layers": list(config.diff_ids)},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    }
    if config.variant:
        rendered["Variant"] = config.variant
    return rendered


def render_listed(image: Image, containers: int) -> Json:
    """One entry of `GET /images/json`."""
    return {
        "Containers": containers,
        "Created": image.created_ns // SECOND,
        "Id": image.config.id,
        "Labels": dict(image.config.config.labels) or None,
        "ParentId": image.parent,
        "RepoDigests": list(image.digests),
        "RepoTags": list(image.tags),
        "SharedSize": -1,
        "Size": image.size,
        "VirtualSize": image.size,
    }


def render_history(image: Image, entries: tuple[HistoryEntry, ...]) -> list[Json]:
    """Newest first. The sizes of single layers aren't kept: a history of one layer has the image's."""
    filled = [entry for entry in entries if not entry.empty_layer]
    rendered: list[Json] = []
    for place, entry in enumerate(reversed(entries)):
        rendered.append(
            {
                "Comment": entry.comment,
                "Created": _seconds(entry.created),
                "CreatedBy": entry.created_by,
                "Id": image.config.id if place == 0 else "<missing>",
                "Size": image.size if filled == [entry] else 0,
                "Tags": (list(image.tags) or None) if place == 0 else None,
            }
        )
    return rendered


def _seconds(text: str) -> int:
    try:
        return parse_timestamp(text) // SECOND
    except InvalidArgument:
        return 0
