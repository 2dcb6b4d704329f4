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
        ("table {{.Names}}\t{{.Size}}", True),
        ("{{json .Names}}", False),
        ("{{json .Names}} {{.ID}}", False),
        ("{{.Names}}", False),
        ("", False),
    ],
)
def test_sizes_are_measured_where_they_are_shown(
    hostvm: Callable[..., Outcome], start_engine: Start, template: str, measured: bool
) -> None:
    engine = start_engine(replies={"GET /containers/json": Reply([])})
    assert hostvm("ps", "--format", template).code == 0
    assert ("size=1" in engine.requests[0].path) is measured
