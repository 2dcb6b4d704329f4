"""The place of a fault, as buildx reads it."""

from __future__ import annotations

import base64
import json

import pytest

from guest_agent.build.reading import DockerfileError
from guest_agent.build.selecting import SourceMissing
from guest_agent.buildkit.faults import failure, words_of
from guest_agent.buildkit.messages import RpcStatus
from guest_agent.engine.build_requests import BuildStepFailed
from guest_agent.engine.build_sources import copy_failed
from guest_agent.rpc.protobuf import decode
from guest_agent.wire.errors import HostvmError, NotFound

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


def a_copy_without_source() -> HostvmError:
    missing = SourceMissing("folder/file", "")
    error = copy_failed("COPY", missing)
    error.__cause__ = missing
    return error


@pytest.mark.parametrize(
    ("error", "base", "words"),
    [
        (BuildStepFailed("false", 1), "", 'process "false" did not complete successfully: exit code: 1'),
        (DockerfileError(3, "no"), "", "dockerfile parse error on line 3: no"),
        (
            a_copy_without_source(),
            "",
            'failed to compute cache key: failed to calculate checksum of ref job: "/folder/file": not found',
        ),
        (
            NotFound("not found"),
            "base:1",
            "base:1: failed to resolve source metadata for docker.io/library/base:1: not found",
        ),
        (NotFound("another"), "", "another"),
    ],
)
def test_the_same_in_buildkits_words(error: HostvmError, base: str, words: str) -> None:
    assert words_of(error, "job", base) == words
