"""The build cache for BuildKit's clients: `buildx du` and `buildx prune`, with buildx `builder prune` too. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from guest_agent.buildkit import messages
from guest_agent.images.configs import parse_time
from guest_agent.wire.cache_records import CacheRecord, PruneRequest, RecordType, parse_id_pattern
from guest_agent.wire.errors import InvalidArgument

_TEXTS = frozenset({"parent", "parents", "type", "description"})
_FLAGS = frozenset({"inuse", "shared", "private"})


def plan_request(asked: messages.PruneRequest, now_ns: int) -> PruneRequest:
    """Raises InvalidArgument."""
    wanted = parse_filters(asked.filter)
    return PruneRequest(
        everything=asked.all,
        keep_bytes=max(asked.reserved_space, asked.max_used_space),
        unused_since_ns=now_ns - asked.keep_duration if asked.keep_duration else None,
        id=wanted.id,
        fields=wanted.fields,
    )


def parse_filters(texts: Sequence[str]) -> PruneRequest:
    """`type==regular,private`, as buildx sends it, in the one text that it sends. Raises InvalidArgument."""
    if len(texts) > 1:
        raise InvalidArgument("filters expect only one value")
    pattern, fields = None, dict[str, str | bool]()
    for condition in filter(None, (texts[0] if texts else "").split(",")):
        name, is_search, searched = condition.partition("~=")
        key, is_equal, value = condition.partition("==")
        if is_search and name == "id":
            pattern = parse_id_pattern(searched)
        elif is_equal and key in _TEXTS:
            fields["parent" if key == "parents" else key] = value
        elif condition in _FLAGS:
            fields[condition] = True
        else:
            raise InvalidArgument(f"invalid filter '{condition}'")
    return PruneRequest(id=pattern, fields=fields)


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
