"""Go's regular expressions (RE2), searched in time proportional to text and expression.

Python's `re` goes back and forth: `(a+)+$` against thirty letters holds the engine up for minutes. Go's can't do that,
and neither can this: all ways through an expression are followed at once (Thompson's construction,
https://swtch.com/~rsc/regexp/regexp1.html). Only whether something is found is told, not where. Single characters and
classes are still left to `re`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

#: Go's own limits: of a counted repetition, and (roughly) of all that counted ones may come to.
_MOST_REPETITIONS = 1000
_MOST_STATES = 10_000

_COUNT = re.compile(r"\{(\d+)(,?)(\d*)\}")
_GROUP = re.compile(r"\?(?:P?<\w+>|(?P<on>[imsU]*)(?:-(?P<off>[imsU]+))?(?P<end>[:)]))", re.ASCII)
_ATOM = re.compile(
    r"\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]|\\x[0-9A-Fa-f]{2}|\\[^0-9A-Za-z]|\\[dDwWsSafnrtv]|[^\\]", re.DOTALL
)

#: Whether a place in a text is what an assertion wants.
_Test = Callable[[str, int], object]


def _at_word_edge(text: str, place: int) -> bool:
    before, after = text[max(place - 1, 0) : place], text[place : place + 1]
    return bool(re.fullmatch(r"\w", before, re.ASCII)) != bool(re.fullmatch(r"\w", after, re.ASCII))


_PLACES: dict[str, _Test] = {
    r"\A": lambda text, place: place == 0,
    r"\z": lambda text, place: place == len(text),
    r"\b": _at_word_edge,
    r"\B": lambda text, place: not _at_word_edge(text, place),
}
_LINE_START: _Test = lambda text, place: place == 0 or text[place - 1] == "\n"  # noqa: E731
_LINE_END: _Test = lambda text, place: place == len(text) or text[place] == "\n"  # noqa: E731


class ExpressionError(ValueError):
    """It is none that Go takes."""


@dataclass(slots=True)
class _State:
    """Leads to `ways`: at once, where `place` holds, or by one character that `character` takes."""

    ways: list[int] = field(default_factory=list)
    place: _Test | None = None
    character: Callable[[str], object] | None = None


#: Adds the states of a part in front of the state that follows it; gives the first of them.
_Part = Callable[[int], int]


class Expression:
    """`found_in(text)`. Raises ExpressionError."""

    def __init__(self, source: str) -> None:
        self._states = [_State()]  # the first is the end
        self._source = source
        self._at = 0
        self._flags = ""
        self._start = self._choice()(0)
        if self._at < len(source):
            self._refuse()

    def found_in(self, text: str) -> bool:
        """Anywhere in it."""
        reached: set[int] = set()
        for place in range(len(text) + 1):
            reached = self._follow([*reached, self._start], text, place)
            if 0 in reached:
                return True
            reached = {way for one in reached for way in self._step(one, text[place : place + 1])}
        return False

    def _follow(self, pending: list[int], text: str, place: int) -> set[int]:
        """What is reached from there without a character."""
        found: set[int] = set()
        while pending:
            number = pending.pop()
            state = self._states[number]
            if number in found or (state.place and not state.place(text, place)):
                continue
            found.add(number)
            if not state.character:
                pending += state.ways
        return found

    def _step(self, number: int, letter: str) -> Iterable[int]:
        state = self._states[number]
        return state.ways if letter and state.character and state.character(letter) else ()

    # -- reading

    def _choice(self) -> _Part:
        flags, options = self._flags, [self._sequence()]
        while self._take("|"):
            options.append(self._sequence())
        self._flags = flags
        return options[0] if len(options) == 1 else lambda after: self._add(_State([one(after) for one in options]))

    def _sequence(self) -> _Part:
        parts: list[_Part] = []
        while self._at < len(self._source) and self._source[self._at] not in "|)":
            parts.append(self._repeated(self._single()))
        return lambda after: _chain(parts, after)

    def _repeated(self, part: _Part) -> _Part:
        least, most = self._count()
        if (least, most) == (1, 1):
            return part
        self._take("?")  # the shortest or the longest: it is found all the same
        if self._count() != (1, 1):
            self._refuse()
        return lambda after: self._repeat(part, least, most, after)

    def _count(self) -> tuple[int, int | None]:
        """How often at least and at most; no limit is None."""
        for sign, least, most in (("*", 0, None), ("+", 1, None), ("?", 0, 1)):
            if self._take(sign):
                return least, most
        found = _COUNT.match(self._source, self._at)
        if not found:
            return 1, 1
        self._at = found.end()
        least = int(found[1])
        most = int(found[3]) if found[3] else None if found[2] else least
        if max(least, most or 0) > _MOST_REPETITIONS or (most is not None and most < least):
            self._refuse()
        return least, most

    def _single(self) -> _Part:
        if self._take("("):
            return self._group()
        for sign, place in self._places():
            if self._take(sign):
                return lambda after: self._add(_State([after], place=place))
        found = _ATOM.match(self._source, self._at)
        if not found or found[0] in ("*", "+", "?", ")"):
            self._refuse()
        self._at = found.end()
        return self._character(found[0])

    def _character(self, atom: str) -> _Part:
        flags = (re.IGNORECASE if "i" in self._flags else 0) | (re.DOTALL if "s" in self._flags else 0)
        atom = re.escape(atom) if atom in ("{", "}", "]") else atom
        try:
            character = re.compile(atom, re.ASCII | flags).fullmatch
        except re.error as error:
            raise ExpressionError(str(error)) from None
        return lambda after: self._add(_State([after], character=character))

    def _places(self) -> Iterable[tuple[str, _Test]]:
        lines = "m" in self._flags
        yield "^", _LINE_START if lines else _PLACES[r"\A"]
        yield "$", _LINE_END if lines else _PLACES[r"\z"]
        yield from _PLACES.items()

    def _group(self) -> _Part:
        before = self._flags
        if self._source.startswith("?", self._at):
            found = _GROUP.match(self._source, self._at) or self._refuse()
            self._at = found.end()
            kept = (flag for flag in before if flag not in (found["off"] or ""))
            self._flags = "".join([*kept, found["on"] or ""])
            if found["end"] == ")":  # for the rest of the group around it
                return lambda after: after
        inner = self._choice()
        if not self._take(")"):
            self._refuse()
        self._flags = before
        return inner

    def _take(self, sign: str) -> bool:
        taken = self._source.startswith(sign, self._at)
        self._at += len(sign) if taken else 0
        return taken

    def _refuse(self) -> NoReturn:
        raise ExpressionError(f"error parsing regexp: `{self._source}`")

    # -- making states

    def _add(self, state: _State) -> int:
        if len(self._states) >= _MOST_STATES:
            raise ExpressionError("expression too large")
        self._states.append(state)
        return len(self._states) - 1

    def _repeat(self, part: _Part, least: int, most: int | None, after: int) -> int:
        start = after
        if most is None:
            start = self._add(_State())
            self._states[start].ways += [part(start), after]
        else:
            for _ in range(most - least):
                start = self._add(_State([part(start), after]))
        return _chain([part] * least, start)


def _chain(parts: Sequence[_Part], after: int) -> int:
    for part in reversed(parts):
        after = part(after)
    return after
