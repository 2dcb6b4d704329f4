"""What somebody may have meant by a word that nobody knows, as BuildKit finds it (util/suggest). Pure."""

from __future__ import annotations

from collections.abc import Iterable

#: Letters that must be changed, put in or left out; a word at this distance is another one.
_TOO_FAR = 3


def suggestion(word: str, known: Iterable[str]) -> str:
    """The end of an error's sentence: " (did you mean COPY?)", or nothing."""
    near = min(((_distance(word, one), place, one) for place, one in enumerate(known)), default=(_TOO_FAR, 0, ""))
    return f" (did you mean {near[2]}?)" if near[0] < _TOO_FAR else ""


def _distance(first: str, second: str) -> int:
    """Levenshtein's, of the first letters where a word is long."""
    second = second[:32]
    before = list(range(len(second) + 1))
    for row, letter in enumerate(first[:32], 1):
        current = [row]
        for column, other in enumerate(second, 1):
            current.append(min(before[column] + 1, current[-1] + 1, before[column - 1] + (letter != other)))
        before = current
    return before[-1]
