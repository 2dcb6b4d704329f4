"""Listings, `inspect` and templates against what docker's CLI (28.2.2) printed for the same answers of an engine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Outcome, Start
from tests.unit.cli.fake_engine import Reply

RECORDED = json.loads((Path(__file__).parent / "docker_28_listings.json").read_text())
REPLIES = {request: Reply(answer) for request, answer in RECORDED["replies"].items()}
REPLIES["GET /containers/gone/json"] = Reply({"message": "No such container: gone"}, 404)


#: "15 months ago" was so when it was recorded, and isn't for ever.
RECORDED_AT = 1_795_400_000.0


@pytest.fixture
def then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr("hostvm.cli.listing.time", lambda: RECORDED_AT)


@pytest.mark.usefixtures("then")
@pytest.mark.parametrize("record", RECORDED["outcomes"], ids=lambda record: " ".join(record["words"]))
def test_it_prints_what_docker_prints(
    record: dict[str, object], start_engine: Start, hostvm: Callable[..., Outcome]
) -> None:
    start_engine(replies=REPLIES)
    words = record["words"]
    assert isinstance(words, list)
    outcome = hostvm(*words)
    # Docker ends the line that it couldn't begin.
    assert outcome.out == ("" if record["code"] and record["stdout"] == "\n" else record["stdout"])
    assert outcome.code == record["code"]
    assert (outcome.err == "") == (record["stderr"] == "")
