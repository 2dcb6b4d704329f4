"""Points in time as users type them."""

from __future__ import annotations

import pytest

from hostvm.cli.failure import Failure
from hostvm.cli.times import parse_time


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("", ""),
        ("1700000000.5", "1700000000.5"),
        ("1m30s", "999999910.000000000"),
        ("2026-11-30T13:36:53.131695012Z", "1796045813.131695012"),
        ("2026-11-30T13:36:53.9999999999Z", "1796045813.999999999"),
        ("2026-11-30T13:36:53.5+02:00", "1796038613.500000000"),
        ("2026-11-30T13:36:53-00:30", "1796047613.000000000"),
    ],
)
def test_a_moment(text: str, sent: str) -> None:
    assert parse_time(text, 1e9) == sent


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "1.2.3", "5x"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(Failure, match="failed to parse value as time or duration"):
        parse_time(text, 1e9)
