"""The build cache in docker's shapes: what /system/df says of it, and what /build/prune asks for."""

from __future__ import annotations

import time
from collections.abc import Iterator

from guest_agent.api.filters import Filters
from guest_agent.api.query import Query
from guest_agent.api.render_config import Json
from guest_agent.api.times import parse_moment
from guest_agent.wire.cache_records import CacheRecord, Condition, Operator, PruneRequest, parse_search
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.times import NEVER, rfc3339

_TEXTS = frozenset({"parent", "type", "description"})
_FLAGS = frozenset({"inuse", "shared", "private"})
#: Older clients' name for `until`.
_UNUSED_FOR = "unused-for"
#: docker lets every prune have labels, and a record has none: they are taken, and change nothing.
_FILTERS = _TEXTS | _FLAGS | {"id", "until", _UNUSED_FOR, "label", "label!"}


def render_cache_record(record: CacheRecord, version: tuple[int, int]) -> Json:
    """`Parents` took the place of `Parent` in API 1.42; either is left out where there is none.

    The name is that of the API's description. dockerd's own begins with a blank (the tag of Parents in moby's
    api/types/build/cache.go), by which nobody finds it who has read the description; docker's command doesn't show it.
    """
    parents = {"Parents": [record.parent]} if version >= (1, 42) else {"Parent": record.parent}
    return {
        "ID": record.id,
        **(parents if record.parent else {}),
        "Type": record.kind.value,
        "Description": record.description,
        "InUse": record.in_use,
        "Shared": record.shared,
        "Size": record.size,
        "CreatedAt": record.created or NEVER,
        "LastUsedAt": rfc3339(record.used_ns) if record.used_ns else None,
        "UsageCount": record.uses,
    }


def parse_prune(query: Query) -> PruneRequest:
    """Raises InvalidArgument."""
    filters, keep_bytes = query.filters(), _keep_bytes(query)
    try:
        return PruneRequest(
            everything=query.flag("all"),
            keep_bytes=keep_bytes,
            unused_since_ns=_parse_until(filters.only(_FILTERS), time.time_ns()),
            conditions=tuple(_conditions(filters)),
        )
    except InvalidArgument as error:
        raise InvalidArgument(f"failed to prune build cache: {error.message}") from error


def _conditions(filters: Filters) -> Iterator[Condition]:
    if (identity := _only(filters, "id")) is not None:
        yield parse_search("id", identity)
    for name in sorted(_TEXTS):
        if (text := _only(filters, name)) is not None:
            yield Condition(name, Operator.EQUAL, text)
    for name in sorted(_FLAGS):
        if (flag := _flag(filters, name)) is not None:
            yield Condition(name, Operator.PRESENT if flag else Operator.ABSENT)


def _keep_bytes(query: Query) -> int:
    try:
        return query.integer("keep-storage")
    except InvalidArgument as error:
        text = query.text("keep-storage")
        message = f"keep-storage is in bytes and expects an integer, got {text}: {error.message}"
        raise InvalidArgument(message) from None


def _only(filters: Filters, name: str) -> str | None:
    if len(filters[name]) > 1:
        raise InvalidArgument("filters expect only one value")
    return filters[name][0] if name in filters else None


def _flag(filters: Filters, name: str) -> bool | None:
    """Its name alone asks for it, as `=true` does."""
    _only(filters, name)
    return True if filters.names_alone(name) else filters.flag(name)


def _parse_until(filters: Filters, now_ns: int) -> int | None:
    if "until" in filters and _UNUSED_FOR in filters:
        raise InvalidArgument(f'conflicting filters: "until" and "{_UNUSED_FOR}"')
    name = _UNUSED_FOR if _UNUSED_FOR in filters else "until"
    text = _only(filters, name)
    try:
        return None if text is None else parse_moment(text, now_ns)
    except InvalidArgument as error:
        expected = f"\"{name}\" filter expects a duration (e.g., '24h') or a timestamp"
        raise InvalidArgument(f"{expected}: {error.message}") from None
