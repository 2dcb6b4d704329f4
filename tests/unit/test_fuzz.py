"""Every fuzz target's invariant holds for a while: for its seeds, for any bytes, and for what its own words make up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_invariant(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds:
        target.check(seed)
    words = st.one_of(st.sampled_from(target.words), st.sampled_from(target.seeds), st.binary(max_size=8))

    @settings(max_examples=60, derandomize=True)
    @given(st.binary(max_size=600) | st.lists(words, max_size=12).map(b"".join))
    def check(data: bytes) -> None:
        target.check(data)

    @settings(max_examples=60, derandomize=True)
    @given(st.sampled_from(target.seeds), st.integers(0, 1 << 30), st.binary(min_size=1, max_size=4))
    def check_damaged(seed: bytes, place: int, change: bytes) -> None:
        place %= len(seed) + 1
        target.check(seed[:place] + change + seed[place + len(change) :])

    check()
    check_damaged()
