"""Debian's order of versions (deb-version(7)): epoch, upstream version, revision."""

from __future__ import annotations

import operator
import re
from functools import total_ordering

_PART = re.compile(r"(\D*)(\d*)")


def _rank(character: str) -> int:
    """`~` sorts before the end of the string (0), letters before everything else."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _fragment_key(text: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Alternating runs of non-digits and digits; each run of non-digits ends in 0, the rank of "nothing more"."""
    return tuple(
        ((*map(_rank, letters), 0), int(digits or 0)) for letters, digits in _PART.findall(text) if letters or digits
    ) + (((0,), 0),)


@total_ordering
class Version:
    """A version that compares as dpkg does."""

    __slots__ = ("_key", "text")

    def __init__(self, text: str) -> None:
        epoch, colon, rest = text.partition(":")
        if not colon:
            epoch, rest = "0", text
        upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "0")
        self.text = text
        self._key = (int(epoch) if epoch.isdigit() else 0, _fragment_key(upstream), _fragment_key(revision))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key == other._key

    def __lt__(self, other: Version) -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)


_OPERATORS = {
    "<<": operator.lt, "<=": operator.le, "=": operator.eq, ">=": operator.ge, ">>": operator.gt,
    "<": operator.le, ">": operator.ge,
}  # fmt: skip


def satisfies(version: str, relation: str, bound: str) -> bool:
    """Whether `version` stands in `relation` ("", "<<", "<=", "=", ">=", ">>") to `bound`."""
    return not relation or bool(_OPERATORS[relation](Version(version), Version(bound)))
