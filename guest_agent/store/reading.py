"""All records of a kind at start-up: what can't be read is set aside in the database, and doesn't stop the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from guest_agent.store.records import Records

T = TypeVar("T")

_ASIDE = "set-aside-"


def read_all(records: Records, kind: str, parse: Callable[[str], T]) -> tuple[dict[str, T], list[str]]:
    """Those that can be read, and a warning for each of the others. `parse` may raise what a bad document makes it."""
    found: dict[str, T] = {}
    warnings: list[str] = []
    for key, text in list(records.items(kind)):
        try:
            found[key] = parse(text)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            name = key[:12] if len(key) == 64 else key
            warnings.append(f"the record of {kind} {name} can't be read ({error}); it was set aside")
            with records.transaction():
                records.put(kind_set_aside(kind), key, text)
                records.delete(kind, key)
    return found, warnings


def kind_set_aside(kind: str) -> str:
    """Under which the unreadable records of a kind are kept."""
    return _ASIDE + kind


def records_set_aside(records: Records) -> Iterator[tuple[str, str]]:
    """Kind and key of each, this start's and earlier ones'."""
    for kind in records.kinds():
        if kind.startswith(_ASIDE):
            yield from ((kind.removeprefix(_ASIDE), key) for key, _text in records.items(kind))
