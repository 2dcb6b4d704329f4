"""Go's expressions: they find what Python's do, and never take long for it.

(But for `\\B` in an empty text, which is Go's.)
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.api.go_expressions import Expression, ExpressionError

_ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", "^", r"\A", r"\b", r"\B", "-", r"\.", "", "()"])
_PATTERNS = st.recursive(
    _ATOMS,
    lambda inner: (
        st.lists(inner, max_size=3).map("".join)
        | st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({'|'.join(parts)})")
        | st.tuples(inner, st.sampled_from(["*", "+", "?", "*?", "{2}", "{1,2}", "{0,}"])).map(
            lambda two: f"(?:{two[0]}){two[1]}"
        )
    ),
    max_leaves=8,
)


@given(_PATTERNS, st.text("ab1-. \n", min_size=1, max_size=8))
def test_as_python_s(pattern: str, text: str) -> None:
    assert Expression(pattern).found_in(text) == bool(re.search(pattern, text, re.ASCII))


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("^web-[0-9]+$", "web-12", True),
        ("^web$", "web\n", False),
        ("^web$", "a web", False),
        ("(?i)WEB", "a-web", True),
        ("(?i:w)EB", "web", False),
        ("(?i)a(?-i)b", "Ab", True),
        ("(?i)a(?-i)b", "aB", False),
        ("(?m)^b$", "a\nb\nc", True),
        ("(?s)a.b", "a\nb", True),
        ("(?P<name>x)(?<other>y)", "xy", True),
        ("a{,2}", "a{,2}", True),
        ("x{", "x{", True),
        ("[]a]+", "]", True),
        (r"[\]x]", "]", True),
        ("[0-9a-f]{12}", "0123456789ab", True),
        ("", "", True),
        ("a|", "b", True),
    ],
)
def test_go_s_own(pattern: str, text: str, expected: bool) -> None:
    assert Expression(pattern).found_in(text) == expected


@pytest.mark.parametrize(
    "pattern", ["(", ")", "a)", "*", "a**", "a+*", "+a", "(?=a)", "(?!a)", "(?<=a)", r"(a)\1", "a{1001}", "a{2,1}", "[",
                "\\", "(a{100}){100}{100}", "((a{1000}){1000}){1000}", r"\Z", "[b-a]"]
)  # fmt: skip
def test_what_go_refuses(pattern: str) -> None:
    with pytest.raises(ExpressionError):
        Expression(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*)*x", "(a*)*b", ".*.*.*.*.*.*x", "(a?){60}a{60}x"])
def test_what_python_never_ends_with(pattern: str) -> None:
    assert not Expression(pattern).found_in("a" * 60 + "!")
