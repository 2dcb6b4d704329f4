"""Patterns of .dockerignore; the table is moby's own (patternmatcher_test.go knows the same cases)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.wire.ignore_patterns import IgnorePatterns, parse_ignore_file


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("**", "file", True),
        ("**/", "dir/file", True),
        ("**/**", "dir/file", True),
        ("dir/**", "dir/file", True),
        ("dir/**", "dir/dir2/file", True),
        ("**/dir", "dir", True),
        ("**/dir", "dir/file", True),
        ("**/dir2/*", "dir/dir2/file", True),
        ("**/dir2/**", "dir/dir2/dir2/file", True),
        ("**file", "file", True),
        ("**file", "dir/file", True),
        ("**/file*txt", "dir/file.txt", True),
        ("a**/*.txt", "a/file.txt", True),
        ("a[b-d]e", "ae", False),
        ("a[b-d]e", "ace", True),
        ("abc", "abc", True),
        ("*", "abc", True),
        ("*c", "abc", True),
        ("a*/b", "abc/b", True),
        ("a*/b", "a/c/b", False),
        ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("ab[^c]", "abc", False),
        ("ab[^e-g]", "abc", True),
        ("a\\*b", "a*b", True),
        ("a\\*b", "ab", False),
        ("a?b", "a/b", False),
        ("a*b", "a/b", False),
        ("[\\]a]", "]", True),
        ("[x--a]", "x", True),
        ("[x--a]", "0", True),
        ("*.go", "foo.go", True),
        ("*.go", "dir/foo.go", False),
        (".*", ".foo", True),
        ("abc.def", "abcZdef", False),
        ("node_modules", "node_modules/a/b", True),
        ("/rooted", "rooted", True),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    assert IgnorePatterns([pattern]).matches(path) is matches


def test_later_lines_beat_earlier_ones() -> None:
    patterns = IgnorePatterns(parse_ignore_file(b"\xef\xbb\xbf# all\n*\n!docs\n!src/*.py\n\ndocs/private\r\n"))
    assert [path for path in ("a", "docs", "docs/x", "docs/private", "src", "src/a.py") if patterns.matches(path)] == [
        "a",
        "docs/private",
        "src",
    ]
    assert patterns.needs_walk("src") and not patterns.needs_walk("other")


@pytest.mark.parametrize("pattern", ["[", "a[", "!", "[^]", "\\"])
def test_malformed_patterns(pattern: str) -> None:
    with pytest.raises(ValueError):
        IgnorePatterns([pattern])


NAMES = st.text("ab.*?[]!\\/^-", min_size=1, max_size=12)


@given(st.lists(NAMES, max_size=4), st.text("ab./", max_size=12))
def test_any_lines_match_or_are_refused(lines: list[str], path: str) -> None:
    """Any lines give an answer for any path, or ValueError at once; nothing else is raised."""
    try:
        patterns = IgnorePatterns(parse_ignore_file("\n".join(lines).encode()))
    except ValueError:
        return
    patterns.matches(path)


@given(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=5))
def test_what_is_below_a_taken_folder_is_taken(parts: list[str]) -> None:
    """A pattern that takes a folder takes everything in it."""
    for depth in range(1, len(parts) + 1):
        assert IgnorePatterns(["/".join(parts[:depth])]).matches("/".join(parts))
