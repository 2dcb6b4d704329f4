"""Globs of moby's patternmatcher, which is Go's filepath.Match with `**` for any number of folders. Pure.

Most become one regular expression. Python's `re` goes back and forth, however, and once more with every wildcard: a
dozen of them against a path of sixty letters take longer than anybody waits, and an ignore file comes with a context
from anywhere. So where there are many, all ways through the glob are followed at once, letter by letter: slower for an
ordinary path, and for none worse than (length of the glob) x (length of the path).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

_ANY, _ANY_IN_FOLDER, _FOLDERS = ".*", "[^/]*", "(?:.*/)?"
_WILDCARDS = (_ANY, _ANY_IN_FOLDER, _FOLDERS)
#: More than these are followed at once. Two cost the square of the path's length at most.
_MOST_FOR_RE = 2


def compile_glob(pattern: str) -> Callable[..., object]:
    """`fits(text)`, `fits(text, start, end)`. Raises ValueError, re.error for a class that is none."""
    parts = _translate(pattern)
    if sum(part in _WILDCARDS for part in parts) <= _MOST_FOR_RE:
        return re.compile("".join(parts), re.DOTALL).fullmatch
    return _Ways(parts).fit


@dataclass(frozen=True, slots=True)
class _Letter:
    """By one letter that `takes` says yes to it goes on to `target`."""

    takes: Callable[[str], object]
    target: int


class _Ways:
    """State n is before part n; the last is the end. Each folder wildcard has a state of its own inside of it."""

    def __init__(self, parts: Sequence[str]) -> None:
        self._end = len(parts)
        self._skips: dict[int, list[int]] = {}
        self._letters: dict[int, list[_Letter]] = {}
        for number, part in enumerate(parts):
            self._add(number, part)

    def fit(self, text: str, start: int = 0, end: int | None = None) -> bool:
        reached = self._skipping([0])
        for letter in text[start:end]:
            moves = (move for state in reached for move in self._letters.get(state, ()))
            reached = self._skipping(move.target for move in moves if move.takes(letter))
        return self._end in reached

    def _add(self, number: int, part: str) -> None:
        after = number + 1
        if part == _FOLDERS:
            inside = -after
            self._skips[number] = [after, inside]
            self._letters[inside] = [_Letter(bool, inside), _Letter("/".__eq__, after)]
        elif part in _WILDCARDS:
            self._skips[number] = [after]
            self._letters[number] = [_Letter(bool if part == _ANY else "/".__ne__, number)]
        else:
            self._letters[number] = [_Letter(re.compile(part, re.DOTALL).fullmatch, after)]

    def _skipping(self, states: Iterable[int]) -> set[int]:
        """These, and what is reached from them without a letter."""
        found: set[int] = set()
        pending = list(states)
        while pending:
            state = pending.pop()
            if state not in found:
                found.add(state)
                pending += self._skips.get(state, ())
        return found


def _translate(pattern: str) -> list[str]:
    """A regular expression for each letter, class and wildcard, as moby's patternmatcher translates them."""
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        part, position = _translate_one(pattern, position)
        parts.append(part)
    return parts


def _translate_one(pattern: str, position: int) -> tuple[str, int]:
    letter, after = pattern[position], position + 1
    if pattern.startswith("**/", position):
        return _FOLDERS, position + 3
    if pattern.startswith("**", position):
        return _ANY, position + 2
    if letter == "*":
        return _ANY_IN_FOLDER, after
    if letter == "?":
        return "[^/]", after
    if letter == "[":
        return _translate_class(pattern, after)
    if letter != "\\":
        return re.escape(letter), after
    if after == len(pattern):
        raise ValueError(f"error parsing pattern '{pattern}': syntax error in pattern")
    return re.escape(pattern[after]), after + 1


def _translate_class(pattern: str, position: int) -> tuple[str, int]:
    """`[a-z]`, `[^abc]`; `position` is behind the bracket. A class never matches a slash."""
    end = position + pattern.startswith("^", position)
    while end < len(pattern) and pattern[end] != "]":
        end += 2 if pattern[end] == "\\" else 1
    content = pattern[position:end]
    if end >= len(pattern) or not content.removeprefix("^"):
        raise ValueError(f"error parsing pattern '{pattern}': syntax error in pattern")
    negated = content.startswith("^")
    inner = re.sub(r"(?<!\\)(?:[\[&~|]|-(?=-))", lambda match: "\\" + match[0], content.removeprefix("^"))
    return f"(?!/)[{'^' if negated else ''}{inner}]", end + 1
