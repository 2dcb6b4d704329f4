"""Which images `images` and `image prune` mean."""

from __future__ import annotations

import fnmatch
from collections.abc import Set

from guest_agent.api.contract import Images
from guest_agent.api.query import Filters
from guest_agent.api.times import parse_moment
from guest_agent.wire.models import Image

FILTERS = frozenset({"dangling", "label", "before", "since", "reference", "until"})
PRUNE_FILTERS = frozenset({"dangling", "label", "label!", "until"})


def select(images: Images, filters: Filters, pattern: str = "") -> list[Image]:
    """Newest first; with `reference`, an image shows only the names that match. `pattern` is `filter` of old clients.

    Raises NotFound for `before` and `since` of what isn't there.
    """
    dangling = filters.flag("dangling")
    patterns = filters["reference"] + ((pattern,) if pattern else ())
    found = []
    for image in images.list():
        if dangling is not None and dangling != (not image.tags):
            continue
        if not filters.labels(image.config.config.labels) or not _in_time(image, filters, images):
            continue
        if patterns and not any(matches(name, p) for name in image.tags + image.digests for p in patterns):
            continue
        found.append(image)
    return sorted(found, key=lambda image: image.created_ns, reverse=True)


def _in_time(image: Image, filters: Filters, images: Images) -> bool:
    before = all(image.created_ns < images.find(ref).created_ns for ref in filters["before"])
    return before and all(image.created_ns > images.find(ref).created_ns for ref in filters["since"])


def matches(name: str, pattern: str) -> bool:
    """Go's `reference.FamiliarMatch`: a glob for the whole name or its part before the tag; `*` ends at `/`."""
    repository = name.partition("@")[0] if "@" in name else name.rpartition(":")[0]
    return any(_glob(candidate, pattern) for candidate in (name, repository))


def _glob(name: str, pattern: str) -> bool:
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def prunable(images: Images, filters: Filters, used: Set[str], now_ns: int) -> list[Image]:
    """Images that no container uses: those without a name, or with `dangling=false` all."""
    only_dangling = filters.flag("dangling") is not False
    until = min((parse_moment(text, now_ns) for text in filters["until"]), default=0)
    return [
        image
        for image in images.list()
        if image.config.id not in used
        and not (only_dangling and image.tags)
        and not (until and image.created_ns > until)
        and filters.labels(image.config.config.labels)
        and not ("label!" in filters and filters.labels(image.config.config.labels, "label!"))
    ]
