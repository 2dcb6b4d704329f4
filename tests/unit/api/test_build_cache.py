"""The build cache by the API: /system/df and /build/prune."""

from __future__ import annotations

import time

import pytest

from guest_agent.wire.cache_records import Condition, Operator, PruneRequest

from .conftest import Api


def usage(api: Api, path: str) -> dict[str, object]:
    _, found = api.call("GET", path)
    assert isinstance(found, dict)
    return found


def records(found: dict[str, object]) -> list[dict[str, object]]:
    cached = found["BuildCache"]
    assert isinstance(cached, list)
    return cached


def test_what_is_listed(api: Api) -> None:
    step, base, mount = records(usage(api, "/v1.44/system/df?type=build-cache"))
    assert step == {
        "ID": "b" * 32,
        "Parents": ["a" * 32],
        "Type": "regular",
        "Description": "RUN x",
        "InUse": False,
        "Shared": False,
        "Size": 30,
        "CreatedAt": "2024-01-02T00:00:00.5Z",
        "LastUsedAt": "1970-01-01T00:00:01Z",
        "UsageCount": 2,
    }
    assert "Parents" not in base and (base["Shared"], base["CreatedAt"]) == (True, "0001-01-01T00:00:00Z")
    assert (mount["Type"], mount["InUse"], mount["LastUsedAt"]) == ("exec.cachemount", True, None)


def test_what_older_clients_are_told(api: Api) -> None:
    found = usage(api, "/v1.41/system/df")
    step, base, _mount = records(found)
    assert (step["Parent"], found["BuilderSize"]) == ("a" * 32, 135)
    assert "Parents" not in step and "Parent" not in base
    assert "BuilderSize" not in usage(api, "/v1.42/system/df")


def pruned(api: Api, **query: object) -> PruneRequest:
    assert api.call("POST", "/build/prune", **query)[0] == 200
    return api.engine.builds.pruned[-1]


def test_what_may_be_asked_for(api: Api) -> None:
    assert pruned(api) == PruneRequest()
    assert pruned(api, all=1) == PruneRequest(everything=True)
    assert pruned(api, **{"keep-storage": 512}) == PruneRequest(keep_bytes=512)
    assert pruned(api, filters={"id": ["ab"]}) == PruneRequest(conditions=(Condition("id", Operator.SEARCH, "ab"),))
    texts = {"type": ["regular"], "parent": ["p"], "description": ["d"]}
    equal = [("description", "d"), ("parent", "p"), ("type", "regular")]
    assert pruned(api, filters=texts).conditions == tuple(Condition(name, Operator.EQUAL, text) for name, text in equal)
    flags = {"shared": {}, "private": {"0": True}, "inuse": {"true": True}}
    wanted = (Condition("inuse"), Condition("private", Operator.ABSENT), Condition("shared"))
    assert pruned(api, filters=flags).conditions == wanted
    assert pruned(api, filters={"label": ["x"], "label!": ["y", "z"]}) == PruneRequest()
    assert pruned(api, filters={"until": ["1700000000"]}).unused_since_ns == 1_700_000_000 * 10**9
    an_hour_ago = time.time() // 1 - 3600  # whole seconds, as dockerd counts here
    since = pruned(api, filters={"unused-for": ["1h"]}).unused_since_ns
    assert since is not None and an_hour_ago <= since / 10**9 <= time.time() - 3600


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"filters": {"color": ["red"]}}, "invalid filter 'color'"),
        ({"filters": {"mutable": ["true"]}}, "invalid filter 'mutable'"),
        ({"filters": {"type": ["a", "b"]}}, "filters expect only one value"),
        ({"filters": {"until": ["1h", "2h"]}}, "filters expect only one value"),
        (
            {"filters": {"until": ["1h"], "unused-for": ["1h"]}},
            'conflicting filters: "until" and "unused-for"',
        ),
        (
            {"filters": {"until": ["x"]}},
            "\"until\" filter expects a duration (e.g., '24h') or a timestamp: failed to parse value as time or "
            'duration: "x"',
        ),
        (
            {"filters": {"id": ["("]}},
            "invalid filter 'id=(': missing ), unterminated subpattern at position 0",
        ),
        (
            {"keep-storage": "1GB"},
            'keep-storage is in bytes and expects an integer, got 1GB: strconv.Atoi: parsing "1GB": invalid syntax',
        ),
    ],
)
def test_what_is_refused(api: Api, query: dict[str, object], message: str) -> None:
    words = f"failed to prune build cache: {message}" if "filters" in query else message
    assert api.message("POST", "/build/prune", **query) == (400, words)
    assert api.engine.builds.pruned == []
