"""`buildx du` and `buildx prune`."""

from __future__ import annotations

import asyncio
import re

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
from guest_agent.wire.errors import InvalidArgument
from tests.unit.buildkit.pretended import PretendedClient, conversation

_CONTROL = "/moby.buildkit.v1.Control"
#: As buildx is told of the pretended cache.
STEP = UsageRecord(
    "step", False, False, 30, Timestamp(86400, 5), Timestamp(2, 0), 3, "RUN x", "regular", True, ("base",)
)
MOUNT = UsageRecord("mount", True, True, 5, Timestamp(0, 0), None, 0, "", "exec.cachemount")


def test_what_is_told_of_the_cache() -> None:
    async def scenario() -> None:
        async with asyncio.timeout(30), conversation(PretendedClient({})) as talk:
            for filters, told in (("", (STEP, MOUNT)), ("inuse", (MOUNT,)), ("id~=^st,parents==base", (STEP,))):
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
    assert plan_request(asked, 100) == cache_records.PruneRequest(
        True, 7, 70, re.compile("ab"), {"type": "regular", "private": True}
    )


@pytest.mark.parametrize("filters", [("color==red",), ("mutable",), ("type~=x",), ("type!=x",), ("id~=(",), ("a", "b")])
def test_what_is_refused(filters: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgument):
        parse_filters(filters)
