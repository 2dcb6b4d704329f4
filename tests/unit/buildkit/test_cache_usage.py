"""`buildx du` and `buildx prune`."""

from __future__ import annotations

import asyncio

import pytest

from guest_agent.buildkit.cache_usage import parse_filters, plan_request
from guest_agent.buildkit.messages import (
    DiskUsageRequest,
    PruneRequest,
    Timestamp,
    UsageRecord,
    UsageResponse,
)
from guest_agent.rpc.protobuf import decode, encode
from guest_agent.wire import cache_records
from guest_agent.wire.cache_records import Condition, Operator
from guest_agent.wire.errors import InvalidArgument, Unsupported
from tests.unit.buildkit.pretended import PretendedClient, conversation

EQUAL, UNEQUAL, SEARCH = Operator.EQUAL, Operator.UNEQUAL, Operator.SEARCH
_CONTROL = "/moby.buildkit.v1.Control"
#: As buildx is told of the pretended cache.
STEP = UsageRecord(
    "step", False, False, 30, Timestamp(86400, 5), Timestamp(2, 0), 3, "RUN x", "regular", True, ("base",)
)
MOUNT = UsageRecord("mount", True, True, 5, Timestamp(0, 0), None, 0, "", "exec.cachemount")


def test_what_is_told_of_the_cache() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(30), conversation(PretendedClient({})) as talk:
            for filters, told in (
                ("", (STEP, MOUNT)),
                ("inuse", (MOUNT,)),
                ("mutable", (MOUNT,)),
                ("immutable", (STEP,)),
                ("id~=^st,parents==base", (STEP,)),
                ("type!=regular", (MOUNT,)),
                ("colour==red", ()),
                ("inuse==true", ()),
            ):
                asked = encode(DiskUsageRequest((filters,)))
                assert decode(UsageResponse, await talk.control.ask(f"{_CONTROL}/DiskUsage", asked)).record == told
            talk.builds.listed = 0
            async with talk.control.call(f"{_CONTROL}/Prune") as call:
                await call.send(encode(PruneRequest(("type==regular",))))
                call.end_input()
                assert decode(UsageRecord, await call.receive() or b"") == STEP
                assert await call.receive() is None
            assert talk.builds.listed == 0  # to list them takes a walk through all folders: the prune does that once

    asyncio.run(scenario())


def test_what_may_be_asked_for() -> None:
    assert plan_request(PruneRequest(), 100) == cache_records.PruneRequest()
    asked = PruneRequest(("id~=ab,type==regular,private",), True, 30, 5, 7)
    conditions = (Condition("id", SEARCH, "ab"), Condition("type", EQUAL, "regular"), Condition("private"))
    assert plan_request(asked, 100) == cache_records.PruneRequest(True, 7, 70, conditions)


def test_a_limit_that_is_not_known_is_not_taken_for_a_wish_to_keep_nothing() -> None:
    with pytest.raises(Unsupported, match="min-free-space"):
        plan_request(PruneRequest(min_free_space=1 << 30), 100)


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("mutable,type!=regular", [Condition("mutable"), Condition("type", UNEQUAL, "regular")]),
        ("description==RUN a b", [Condition("description", EQUAL, "RUN a b")]),
        (r'description~="RUN \"a\", b",x', [Condition("description", SEARCH, 'RUN "a", b'), Condition("x")]),
    ],
)
def test_how_filters_are_written(text: str, conditions: list[Condition]) -> None:
    assert list(parse_filters((text,))) == conditions


@pytest.mark.parametrize(
    "filters",
    [
        ("a", "b"),
        ("=x",),
        ("a=x",),
        ("a==",),
        ("a@=x",),
        ("a,,b",),
        ("id~=(",),
        ('a=="x',),
        ('a=="\\q"',),
        ('a=="x"y',),
    ],
)
def test_what_is_refused(filters: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgument):
        parse_filters(filters)
