"""Which records of the build cache a prune takes, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from guest_agent.build.pruning import plan_prune
from guest_agent.wire.cache_records import CacheRecord, Condition, Operator, PruneRequest, RecordType


def record(identity: str, used: int, parent: str = "", size: int = 10) -> CacheRecord:
    return CacheRecord(identity, RecordType.REGULAR, size, "2024-01-01T00:00:00Z", used, parent=parent)


#: base ← one ← two, and base ← other; base and one are an image's, a build uses `other`, nobody the mount.
RECORDS = (
    replace(record("base", 40), shared=True, description="COPY x"),
    replace(record("one", 30, "base"), shared=True),
    record("two", 25, "one"),
    replace(record("other", 40, "base"), in_use=True),
    replace(record("mount", 10, size=100), kind=RecordType.CACHE_MOUNT),
)
ALL = PruneRequest(everything=True)

EQUAL, UNEQUAL, SEARCH = Operator.EQUAL, Operator.UNEQUAL, Operator.SEARCH


def only(*conditions: Condition) -> PruneRequest:
    return replace(ALL, conditions=conditions)


def planned(records: Sequence[CacheRecord], request_: PruneRequest) -> str:
    return " ".join(record.id for record in plan_prune(records, request_))


@pytest.mark.parametrize(
    ("request_", "gone"),
    [
        (PruneRequest(), "mount two"),
        (ALL, "mount two one"),
        (replace(ALL, unused_since_ns=25), "mount two"),
        (replace(ALL, unused_since_ns=24), "mount"),
        (replace(ALL, keep_bytes=110), "mount"),
        (replace(ALL, keep_bytes=111), "mount"),
        (replace(ALL, keep_bytes=131), ""),
        (replace(ALL, keep_bytes=1), "mount two one"),
        (only(Condition("id", SEARCH, "^t|m")), "mount two"),
        (only(Condition("id", SEARCH, "one")), ""),  # `two` was made from it
        (only(Condition("type", EQUAL, "exec.cachemount")), "mount"),
        (only(Condition("type", EQUAL, "internal")), ""),
        (only(Condition("parent", EQUAL, "one")), "two"),
        (only(Condition("description", EQUAL, "COPY x")), ""),  # `other` needs it
        (only(Condition("private")), "mount two"),
        (only(Condition("shared")), ""),
        (PruneRequest(conditions=(Condition("shared"),)), ""),
        (only(Condition("inuse")), ""),
        (only(Condition("inuse", Operator.ABSENT), Condition("private")), "mount two"),
        (only(Condition("mutable")), "mount"),
        (only(Condition("immutable")), "two one"),
        (only(Condition("type", UNEQUAL, "regular")), "mount"),
        (only(Condition("parents", UNEQUAL, "one"), Condition("type", SEARCH, "^reg")), ""),
        (only(Condition("description", EQUAL)), ""),  # what has none has it not as an empty one
        (only(Condition("description", UNEQUAL, "x")), "mount two one"),
        (only(Condition("colour")), ""),
        (only(Condition("inuse", EQUAL, "true")), ""),
    ],
)
def test_what_goes(request_: PruneRequest, gone: str) -> None:
    assert planned(RECORDS, request_) == gone


def test_a_parent_goes_after_its_children_although_it_was_used_before_them() -> None:
    chain = (record("c", 3, "b"), record("a", 1), record("b", 2, "a"), record("z", 2), record("orphan", 9, "nosuch"))
    assert planned(chain, PruneRequest()) == "z c b a orphan"
    assert planned(chain, PruneRequest(keep_bytes=31)) == "z c"
    assert plan_prune((), ALL) == ()


def test_what_is_a_total_prune() -> None:
    assert ALL.is_total and not PruneRequest().is_total and not replace(ALL, keep_bytes=1).is_total
