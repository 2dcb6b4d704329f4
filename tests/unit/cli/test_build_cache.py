"""`system df` and `builder prune` of a build cache, against what docker's CLI (26.1.5) printed for the same answers."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

import pytest

from tests.unit.cli.conftest import Outcome, Start
from tests.unit.cli.fake_engine import Reply

USAGE = {
    "LayersSize": 1234567,
    "Images": [],
    "Containers": [],
    "Volumes": [],
    "BuildCache": [
        {
            "ID": "b" * 32, "Parents": ["a" * 32], "Type": "regular", "Description": "RUN x", "InUse": True,
            "Shared": False, "Size": 1230567, "CreatedAt": "2024-01-02T00:00:00.5Z",
            "LastUsedAt": "2024-03-01T00:00:01Z", "UsageCount": 2,
        },
        {
            "ID": "a" * 32, "Type": "regular", "Description": "", "InUse": False, "Shared": True, "Size": 100,
            "CreatedAt": "2024-01-01T00:00:00Z", "LastUsedAt": "2024-02-01T00:00:00Z", "UsageCount": 0,
        },
        {
            "ID": "m" * 32, "Type": "exec.cachemount", "Description": "", "InUse": False, "Shared": False,
            "Size": 5000, "CreatedAt": "2024-01-01T00:00:00Z", "LastUsedAt": None, "UsageCount": 1,
        },
    ],
}  # fmt: skip
VERBOSE = """\
Build cache usage: 1.236MB

CACHE ID        CACHE TYPE        SIZE      CREATED       LAST USED     USAGE     SHARED
mmmmmmmmmmmm    exec.cachemount   5kB       2 years ago                 1         false
aaaaaaaaaaaa    regular           100B      2 years ago   2 years ago   0         true
bbbbbbbbbbbb*   regular           1.23MB    2 years ago   2 years ago   2         false
"""
DELETED = "Deleted build cache objects:\nb\na\n\nTotal reclaimed space: 1.235MB\n"
#: When docker was asked.
ASKED_AT = 1_796_000_000.0
PRUNED = Reply({"CachesDeleted": ["b", "a"], "SpaceReclaimed": 1234567})

Call = Callable[..., Outcome]


def test_what_is_counted_and_listed(start_engine: Start, hostvm: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    start_engine(replies={"GET /system/df": Reply(USAGE)})
    monkeypatch.setattr("time.time", lambda: ASKED_AT)
    last = hostvm("system", "df").out.splitlines()[-1]
    assert last == "Build Cache     3         1         1.236MB   5kB"
    assert hostvm("system", "df", "-v").out.endswith("\n\n" + VERBOSE)


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (("-f",), "/build/prune"),
        (("-fa", "--keep-storage", "1g"), "/build/prune?all=1&keep-storage=1073741824"),
        (
            ("-f", "--filter", "until=24h", "--filter", "", "--filter", "type=regular"),
            '/build/prune?filters={"until":["24h"],"type":["regular"]}',
        ),
    ],
)
def test_what_a_prune_asks_for(start_engine: Start, hostvm: Call, words: tuple[str, ...], path: str) -> None:
    engine = start_engine(replies={"POST /build/prune": PRUNED})
    assert hostvm("builder", "prune", *words).out == DELETED
    assert unquote(engine.requests[-1].path).replace(" ", "").endswith(path)


def test_nothing_to_prune(start_engine: Start, hostvm: Call) -> None:
    start_engine(replies={"POST /build/prune": Reply({"CachesDeleted": None, "SpaceReclaimed": 0})})
    assert hostvm("builder", "prune", "-f").out == "Total reclaimed space: 0B\n"


@pytest.mark.parametrize(("words", "which"), [((), "all dangling"), (("-a",), "all")])
def test_the_question(
    start_engine: Start, hostvm: Call, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], which: str
) -> None:
    engine = start_engine()
    monkeypatch.setattr("sys.stdin.readline", lambda: "n\n", raising=False)
    question = f"WARNING! This will remove {which} build cache. Are you sure you want to continue? [y/N] "
    assert hostvm("builder", "prune", *words).out == question
    assert engine.requests == []


def test_system_prune_hands_its_filters_on(start_engine: Start, hostvm: Call) -> None:
    nouns = ("containers", "networks", "images", "build")
    engine = start_engine(replies={f"POST /{noun}/prune": Reply({}) for noun in nouns})
    assert hostvm("system", "prune", "-af", "--filter", "until=24h").code == 0
    asked = [unquote(request.path) for request in engine.requests]
    assert 'until":["24h"]' in asked[-1].replace(" ", "") and "/build/prune?all=1&" in asked[-1]
