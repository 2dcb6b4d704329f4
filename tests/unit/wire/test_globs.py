"""Globs with many wildcards: the same answers as by `re`, in a time that nobody notices."""

from __future__ import annotations

import re
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.wire import globs
from guest_agent.wire.globs import compile_glob

_PIECES = st.lists(st.sampled_from(["a", "b", "/", "?", "*", "**", "**/", "[ab]", "[^a]", "\\\\*"]), max_size=8)


@given(_PIECES.map("".join), st.text("ab/*\n", max_size=10))
def test_both_ways_agree(pattern: str, text: str) -> None:
    with patch.object(globs, "_MOST_FOR_RE", -1):
        followed = compile_glob(pattern)
    with patch.object(globs, "_MOST_FOR_RE", 100):
        expected = compile_glob(pattern)
    assert bool(followed(text)) == bool(expected(text))
    assert bool(followed(f"x{text}y", 1, len(text) + 1)) == bool(expected(text))


@pytest.mark.parametrize("pattern", ["*a" * 30 + "b", "*" + "?*" * 12 + "z", "**a**/" * 10 + "b", "**/" * 20 + "b"])
def test_many_wildcards_take_no_time(pattern: str) -> None:
    """By `re` each of these takes minutes, or years: it would be seen by the time that the suite takes."""
    assert not compile_glob(pattern)("a" * 40 + "/" + "a" * 40)


def test_a_class_that_is_none() -> None:
    for pattern in ("[b-a]", "*a*b*c[b-a]"):
        with pytest.raises(re.error):
            compile_glob(pattern)
