"""Which records of the build cache a prune takes. Pure.

Leaves go first, as with BuildKit: without its parent a step can't be reached, so a parent stays as long as something
that was made from it does. Among the leaves those that were used least recently go first.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence

from guest_agent.wire.cache_records import CacheRecord, Condition, PruneRequest


def plan_prune(records: Sequence[CacheRecord], request: PruneRequest) -> tuple[CacheRecord, ...]:
    """Those that go, in this order. What is shared doesn't count among the bytes to keep."""
    by_id = {record.id: record for record in records}
    children = Counter(record.parent for record in records if record.parent in by_id)
    taken = {record.id for record in records if takes(request, record)}
    leaves = [(by_id[one].used_ns, one) for one in taken if not children[one]]
    heapq.heapify(leaves)
    total = sum(record.size for record in records if not record.shared)
    order: list[CacheRecord] = []
    while leaves and not (request.keep_bytes and total < request.keep_bytes):
        _used, identity = heapq.heappop(leaves)
        record = by_id[identity]
        order.append(record)
        total -= 0 if record.shared else record.size
        children[record.parent] -= 1
        if record.parent in taken and not children[record.parent]:
            heapq.heappush(leaves, (by_id[record.parent].used_ns, record.parent))
    return tuple(order)


def takes(request: PruneRequest, record: CacheRecord) -> bool:
    """Whether a record may go, as far as it alone matters."""
    if record.in_use or (record.shared and not request.everything):
        return False
    if request.unused_since_ns is not None and record.used_ns > request.unused_since_ns:
        return False
    return matches(request.conditions, record)


def matches(conditions: Sequence[Condition], record: CacheRecord) -> bool:
    """Whether a record is one of those that the filters name."""
    return all(condition.holds(record) for condition in conditions)
