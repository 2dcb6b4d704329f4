"""How long the keeper waits before it starts an engine again."""

from __future__ import annotations

import pytest

from guest_agent.keeper.main import plan_pause


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (1, 0), (2, 0.1), (3, 0.2), (4, 0.4), (7, 3.2), (8, 5), (100, 5)]
)
def test_pauses_double_up_to_five_seconds(failures: int, seconds: float) -> None:
    assert plan_pause(failures) == pytest.approx(seconds)


def test_an_engine_that_fails_for_a_week_does_not_end_the_keeper() -> None:
    """A week of five-second pauses is 120,000 failures, and 2 ** 120000 fits in no float."""
    assert plan_pause(120_000) == 5
