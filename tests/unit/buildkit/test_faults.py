"""The place of a fault, as buildx reads it."""

from __future__ import annotations

import base64
import json

import pytest

from guest_agent.buildkit.faults import failure
from guest_agent.buildkit.messages import RpcStatus
from guest_agent.rpc.protobuf import decode

DOCKERFILE = b"FROM a\nRUN one \\\n# between\n  two\nRUN three\\\n"


def test_a_fault_with_its_place() -> None:
    error = failure("it failed", "sub/Dockerfile", DOCKERFILE, 2)
    status = decode(RpcStatus, error.details)
    assert (status.code, status.message) == (2, "it failed")
    source = json.loads(status.details[0].value)
    assert source["info"]["filename"] == "sub/Dockerfile" and base64.b64decode(source["info"]["data"]) == DOCKERFILE
    assert [one["start"]["line"] for one in source["ranges"]] == [2, 3, 4]


@pytest.mark.parametrize("line", [0, 99])
def test_a_fault_without_one(line: int) -> None:
    assert decode(RpcStatus, failure("it failed", "", DOCKERFILE, line).details).details == ()
