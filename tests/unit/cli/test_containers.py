"""`ps` and its neighbours, by what they ask the engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.cli.conftest import Outcome, Start
from tests.unit.cli.fake_engine import Reply


@pytest.mark.parametrize(
    ("template", "measured"),
    [
        ("{{json .}}", True),
        ("{{ json . | print }}", True),
        ("{{print (json .)}}", True),
        ("{{. | json}}", True),
        ("{{json $}}", True),
        ("{{with $row := .}}{{json $row}}{{end}}", True),
        ("table {{.Names}}\t{{.Size}}", True),
        ("{{json .Names}}", False),
        ("{{json .Names}} {{.ID}}", False),
        ("{{.Names}}", False),
        ('{{range $i, $name := split .Names ","}}{{json $name}}{{end}}', False),
        ("", False),
    ],
)
def test_sizes_are_measured_where_they_are_shown(
    hostvm: Callable[..., Outcome], start_engine: Start, template: str, measured: bool
) -> None:
    engine = start_engine(replies={"GET /containers/json": Reply([])})
    assert hostvm("ps", "--format", template).code == 0
    assert ("size=1" in engine.requests[0].path) is measured


@pytest.mark.parametrize(
    ("words", "measured"),
    [
        (["--size"], True),
        (["-q", "--size"], True),
        (["--size=false", "--format", "{{.Size}}"], False),
        (["--size=false", "--format", "{{json .}}"], False),
        (["-q"], False),
    ],
)
def test_sizes_are_measured_where_they_are_asked_for(
    hostvm: Callable[..., Outcome], start_engine: Start, words: list[str], measured: bool
) -> None:
    engine = start_engine(replies={"GET /containers/json": Reply([])})
    assert hostvm("ps", *words).code == 0
    assert ("size=1" in engine.requests[0].path) is measured


@pytest.mark.parametrize("template", ["{{.Size}}", "{{json .}}", "json", "table", "table {{.Names}}"])
def test_ids_alone_have_no_format(hostvm: Callable[..., Outcome], start_engine: Start, template: str) -> None:
    """As docker 28 has it for `ps` and no other listing."""
    engine = start_engine(replies={"GET /containers/json": Reply([{"Id": "c" * 64, "Names": ["/n"]}])})
    outcome = hostvm("ps", "-q", "--format", template)
    assert outcome.out == "c" * 12 + "\n"
    assert outcome.err == "WARNING: Ignoring custom format, because both --format and --quiet are set.\n"
    assert "size=1" not in engine.requests[0].path
