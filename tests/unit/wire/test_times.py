"""Times in Go's words."""

from __future__ import annotations

import pytest

from guest_agent.wire.times import SECOND, go_duration


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"), (30 * SECOND, "30s"), (90 * SECOND, "1m30s"), (60 * SECOND, "1m0s"), (3600 * SECOND, "1h0m0s"),
        (1_500_000_000, "1.5s"), (250_000_000, "250ms"), (1_500_000, "1.5ms"), (61_050_000_000, "1m1.05s"),
    ],
)  # fmt: skip
def test_durations_as_go_writes_them(nanoseconds: int, text: str) -> None:
    assert go_duration(nanoseconds) == text
