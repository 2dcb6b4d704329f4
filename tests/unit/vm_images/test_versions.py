"""Debian's order of versions: deb-version(7)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vm_images.debian.versions import Version, satisfies

ORDER = [
    "1.0~~",
    "1.0~~a",
    "1.0~",
    "1.0",
    "1.0-1",
    "1.0-1+b1",
    "1.0-1.1",
    "1.0a",
    "1.0+dfsg",
    "1.2",
    "1.10",
    "1:0.1",
    "2:0",
]

VERSIONS = st.from_regex(r"([0-9]:)?[0-9][0-9a-c.+~]{0,6}(-[0-9a-c.+~]{1,4})?", fullmatch=True)


@pytest.mark.parametrize(("older", "newer"), list(pairwise(ORDER)))
def test_order(older: str, newer: str) -> None:
    assert Version(older) < Version(newer)
    assert not Version(newer) < Version(older)


@pytest.mark.parametrize(("one", "other"), [("1.0", "0:1.0"), ("1.0", "1.00"), ("1.0-0", "1.0"), ("01", "1")])
def test_equal(one: str, other: str) -> None:
    assert Version(one) == Version(other)


@given(VERSIONS, VERSIONS, VERSIONS)
def test_it_is_a_total_order(a: str, b: str, c: str) -> None:
    x, y, z = sorted(map(Version, (a, b, c)))
    assert x <= y <= z
    assert x <= z


@pytest.mark.parametrize(
    ("relation", "met"), [("<<", False), ("<=", True), ("=", True), (">=", True), (">>", False), ("", True)]
)
def test_satisfies(relation: str, met: bool) -> None:
    assert satisfies("1.0-1", relation, "1.0-1") is met
