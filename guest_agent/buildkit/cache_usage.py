"""The build cache for BuildKit's clients: `buildx du` and `buildx prune`, with buildx `builder prune` too. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from guest_agent.buildkit import messages
from guest_agent.images.configs import parse_time
from guest_agent.wire.cache_records import CacheRecord, Condition, Operator, PruneRequest, RecordType, parse_search
from guest_agent.wire.errors import InvalidArgument, Unsupported

#: One selector of containerd's filters. Values may have blanks here, which there are to be quoted.
_SELECTOR = re.compile(
    r'(?P<field>[A-Za-z][A-Za-z0-9_.]*)(?:(?P<operator>==|!=|~=)(?:(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<bare>[^,"]+)))?'
)


def plan_request(asked: messages.PruneRequest, now_ns: int) -> PruneRequest:
    """Raises InvalidArgument; Unsupported for a limit without which the request would be for all there is."""
    if asked.min_free_space:
        raise Unsupported("buildkit v0.17.0+ is required for min-free-space filters")
    return PruneRequest(
        everything=asked.all,
        keep_bytes=max(asked.reserved_space, asked.max_used_space),
        unused_since_ns=now_ns - asked.keep_duration if asked.keep_duration else None,
        conditions=parse_filters(asked.filter),
    )


def parse_filters(texts: Sequence[str]) -> tuple[Condition, ...]:
    """`type==regular,private`, as buildx sends it, in the one text that it sends. Raises InvalidArgument."""
    if len(texts) > 1:
        raise InvalidArgument("filters expect only one value")
    text = texts[0] if texts else ""
    conditions: list[Condition] = []
    at = 0
    while at < len(text):
        found = _SELECTOR.match(text, at)
        if found is None or text[found.end() : found.end() + 1] not in ("", ","):
            raise InvalidArgument(f"invalid filter '{text[at:]}'")
        conditions.append(_condition(found))
        at = found.end() + 1
    return tuple(conditions)


def _condition(found: re.Match[str]) -> Condition:
    field, operator = found["field"], Operator(found["operator"] or "")
    try:
        value = str(json.loads(found["quoted"])) if found["quoted"] else found["bare"] or ""
    except ValueError:
        raise InvalidArgument(f"invalid filter '{found[0]}': unquoting failed") from None
    return parse_search(field, value) if operator is Operator.SEARCH else Condition(field, operator, value)


def render_record(record: CacheRecord) -> messages.UsageRecord:
    return messages.UsageRecord(
        id=record.id,
        mutable=record.kind is RecordType.CACHE_MOUNT,
        in_use=record.in_use,
        size=record.size,
        created_at=messages.timestamp(parse_time(record.created)),
        last_used_at=messages.timestamp(record.used_ns) if record.used_ns else None,
        usage_count=record.uses,
        description=record.description,
        record_type=record.kind.value,
        shared=record.shared,
        parents=(record.parent,) if record.parent else (),
    )
