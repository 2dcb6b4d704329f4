"""Which images `images` and `image prune` mean."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import replace

from guest_agent.api.contract import Images
from guest_agent.api.filters import Filters, Misfiltered
from guest_agent.api.go_patterns import match_glob
from guest_agent.api.render_config import Json
from guest_agent.api.times import parse_moment
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.go_numbers import parse_integer
from guest_agent.wire.models import Image

FILTERS = frozenset({"dangling", "label", "before", "since", "reference", "until"})
SEARCH_FILTERS = frozenset({"is-automated", "is-official", "stars"})
PRUNE_FILTERS = frozenset({"dangling", "label", "label!", "until"})


def select(images: Images, filters: Filters, everything: bool, now_ns: int) -> list[Image]:
    """Newest first; with `reference`, an image shows only the names that match.

    Steps on the way to other images are shown with `everything` only. Raises NotFound for `before` and `since` of what
    isn't there (moby daemon/images/images.go).
    """
    dangling = filters.flag("dangling")
    until = _until(filters, now_ns)
    after, before = (_moments(filters[key], images) for key in ("since", "before"))
    found = []
    for image in images.list():
        if (until is not None and image.created_ns >= until) or not filters.labels(image.config.config.labels):
            continue
        if any(image.created_ns <= moment for moment in after) or any(image.created_ns >= moment for moment in before):
            continue
        shown = _with_matching_names(image, filters["reference"])
        if dangling and shown.tags:
            continue
        if not shown.tags and not shown.digests:
            is_step = images.has_children(image)
            if "reference" in filters or dangling is False or (is_step and (dangling or not everything)):
                continue
        found.append(shown)
    return sorted(found, key=lambda image: image.created_ns, reverse=True)


def _with_matching_names(image: Image, patterns: tuple[str, ...]) -> Image:
    if not patterns:
        return image
    tags, digests = (
        tuple(name for name in names if any(matches(name, pattern) for pattern in patterns))
        for names in (image.tags, image.digests)
    )
    return replace(image, tags=tags, digests=digests)


def _moments(refs: tuple[str, ...], images: Images) -> tuple[int, ...]:
    return tuple(images.find(ref).created_ns for ref in refs)


def _until(filters: Filters, now_ns: int) -> int | None:
    try:
        return min((parse_moment(text, now_ns) for text in filters["until"]), default=None)
    except InvalidArgument as error:
        raise Misfiltered(error.message) from error


def matches(name: str, pattern: str) -> bool:
    """Go's `reference.FamiliarMatch`: a glob for the whole name or its part before the tag; `*` ends at `/`."""
    repository = name.partition("@")[0] if "@" in name else name.rpartition(":")[0]
    try:
        match = match_glob(pattern)
    except ValueError:
        raise Misfiltered("syntax error in pattern") from None
    return any(match(candidate) for candidate in (name, repository))


def prunable(images: Images, filters: Filters, used: Set[str], now_ns: int) -> list[Image]:
    """Images that no container uses: those without a name, or with `dangling=false` all."""
    only_dangling = filters.flag("dangling") is not False
    if len(filters["until"]) > 1:
        raise Misfiltered("more than one until filter specified")
    until = _until(filters, now_ns)
    return [
        image
        for image in images.list()
        if image.config.id not in used
        and not (only_dangling and image.tags)
        and not (images.has_children(image) and (only_dangling or not image.tags + image.digests))
        and (until is None or image.created_ns <= until)
        and filters.labels(image.config.config.labels)
    ]


def search_filter(filters: Filters) -> Callable[[Json], bool]:
    """Which results of a search are wanted (moby registry/search.go). Raises InvalidArgument in docker's words."""
    least = max((_stars(text) for text in filters["stars"]), default=0)
    official = filters.flag("is-official")

    def wanted(item: Json) -> bool:
        count = item["star_count"]
        return isinstance(count, int) and count >= least and official in (None, item["is_official"])

    return wanted


def _stars(text: str) -> int:
    try:
        return parse_integer(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid filter 'stars={text}': {error.message}") from error
