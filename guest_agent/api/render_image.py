"""Pure: an image to Docker's JSON, as `inspect`, as a line of `images`, and its history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from guest_agent.api.render_config import Json, render_config
from guest_agent.api.times import parse_timestamp
from guest_agent.engine.images import HistoryLine
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerConfig, DiffId, Distribution, Image, PlatformName
from guest_agent.wire.times import NEVER, SECOND, rfc3339


def render_image(image: Image, driver: str, folders: Sequence[str], version: tuple[int, int]) -> Json:
    """`folders`: where its layers lie, uppermost first. VirtualSize went with API 1.44."""
    config = image.config
    rendered: Json = {
        "Id": config.id,
        "RepoTags": list(image.tags),
        "RepoDigests": list(image.digests),
        "Parent": image.parent,
        "Comment": config.comment or (config.history[-1].comment if config.history else ""),
        "Created": config.created or NEVER,
        "Container": config.origin.container,
        "ContainerConfig": render_config(config.origin.config or ContainerConfig()),
        "DockerVersion": config.origin.docker_version,
        "Author": config.author,
        "Config": render_config(config.config),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.size,
        **({"VirtualSize": image.size} if version < (1, 44) else {}),
        "GraphDriver": {"Data": _graph_data(folders), "Name": driver},
        "RootFS": {"Type": "layers", "Layers": list(config.diff_ids)},
        "Metadata": {"LastTagTime": rfc3339(image.tagged_ns)},
    }
    if config.variant:
        rendered["Variant"] = config.variant
    return rendered


def _graph_data(folders: Sequence[str]) -> Json | None:
    if not folders:
        return None
    lower = {"LowerDir": ":".join(folders[1:])} if folders[1:] else {}
    return {**lower, "UpperDir": folders[0]}


def render_listed(image: Image, containers: int, shared: int, version: tuple[int, int]) -> Json:
    """One entry of `GET /images/json`; -1 stands for what wasn't counted."""
    nameless = version < (1, 43) and not image.tags and not image.digests
    return {
        "Containers": containers,
        "Created": image.created_ns // SECOND,
        "Id": image.config.id,
        "Labels": dict(image.config.config.labels) or None,
        "ParentId": image.parent,
        "RepoDigests": ["<none>@<none>"] if nameless else list(image.digests),
        "RepoTags": ["<none>:<none>"] if nameless else list(image.tags),
        "SharedSize": shared,
        "Size": image.size,
        **({"VirtualSize": image.size} if version < (1, 44) else {}),
    }


def shared_sizes(images: Sequence[Image]) -> dict[str, int]:
    """Image id -> bytes of the layers that it shares with another of these images."""
    counts = Counter(diff_id for image in images for diff_id in set(image.config.diff_ids))
    return {image.config.id: _shared_size(image, counts) for image in images}


def _shared_size(image: Image, counts: Counter[DiffId]) -> int:
    layers = zip(image.config.diff_ids, image.layer_sizes, strict=True)
    return sum(size for diff_id, size in layers if counts[diff_id] > 1)


def render_history(lines: Sequence[HistoryLine]) -> list[Json]:
    """Newest first."""
    return [
        {
            "Comment": line.entry.comment,
            "Created": _seconds(line.entry.created),
            "CreatedBy": line.entry.created_by,
            "Id": line.image.config.id if line.image else "<missing>",
            "Size": line.size,
            "Tags": (list(line.image.tags) or None) if line.image else None,
        }
        for line in lines
    ]


def render_distribution(found: Distribution) -> Json:
    """`GET /distribution/{name}/json`."""
    descriptor = {"mediaType": found.media_type, "digest": found.digest, "size": found.size}
    return {"Descriptor": descriptor, "Platforms": [_platform(platform) for platform in found.platforms]}


def _platform(name: PlatformName) -> Json:
    system, architecture, variant = name
    plain: Json = {"architecture": architecture, "os": system}
    return {**plain, "variant": variant} if variant else plain


def render_found(item: dict[str, object]) -> Json:
    """A line of `search`, whatever else the index says."""
    return {
        "star_count": item.get("star_count") or 0,
        "is_official": bool(item.get("is_official")),
        "name": str(item.get("name") or ""),
        "is_automated": bool(item.get("is_automated")),
        "description": str(item.get("description") or ""),
    }


def _seconds(text: str) -> int:
    try:
        return parse_timestamp(text) // SECOND
    except InvalidArgument:
        return 0
