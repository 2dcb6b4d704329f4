"""The `filters` of a query: what may be asked for, and how a value is compared (moby api/types/filters/parse.go)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from guest_agent.api.go_patterns import find_expression
from guest_agent.api.times import parse_moment
from guest_agent.wire.errors import HostvmError, InvalidArgument


class Misfiltered(HostvmError):
    """A user's mistake that dockerd 26 forgot to call one: it answers 500, in these words."""

    blame = "user"


class Filters:
    """`{"label": {"a", "b=c"}}`, with the ways of matching that dockerd has."""

    def __init__(self, values: Mapping[str, tuple[str, ...]]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return bool(self._values.get(name))

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return any(self._values.values())

    def __getitem__(self, name: str) -> tuple[str, ...]:
        return self._values.get(name, ())

    def names_alone(self, name: str) -> bool:
        """Whether it is asked for without a value: `{"name": {}}`."""
        return name in self._values and not self._values[name]

    def wants(self, name: str) -> bool:
        """Whether it is asked for, be it without a value: nothing is any of none."""
        return name in self._values

    def also(self, name: str, value: str) -> Filters:
        """The same with one more value."""
        return Filters({**self._values, name: (*self[name], value)})

    def only(self, allowed: frozenset[str]) -> Filters:
        """The same. Raises InvalidArgument on a key that isn't `allowed`."""
        for name in self._values:
            if name not in allowed:
                raise InvalidArgument(f"invalid filter '{name}'")
        return self

    def exact(self, name: str, value: str) -> bool:
        """True if nothing is asked for, or one of the values is this one."""
        return name not in self or value in self[name]

    def matches(self, name: str, *texts: str) -> bool:
        """Like `exact`, for one of several texts; a value may be a regular expression that is found in it, too."""
        if self.names_alone(name):
            return False
        return name not in self or any(text in self[name] or self._finds(name, text) for text in texts)

    def _finds(self, name: str, text: str) -> bool:
        return any(find_expression(value)(text) for value in self[name])

    def labels(self, labels: Mapping[str, str]) -> bool:
        """Every wanted `key` or `key=value` is among `labels`; those of `label!` aren't all there."""
        unwanted = "label!" in self._values and all(_has_label(labels, text) for text in self["label!"])
        return not unwanted and all(_has_label(labels, text) for text in self["label"])

    def flag(self, name: str) -> bool | None:
        """None if nothing is asked for. Raises InvalidArgument on what is no truth value."""
        if name not in self._values:
            return None
        is_true, is_false = (not values.isdisjoint(self[name]) for values in ({"1", "true"}, {"0", "false"}))
        if is_true == is_false:
            given = f"=[{' '.join(self[name])}]" if self[name] else ""
            raise InvalidArgument(f"invalid filter '{name}{given}'")
        return is_true

    def until(self, now_ns: int) -> int | None:
        """What a prune leaves is younger than this. Raises InvalidArgument."""
        if len(self["until"]) > 1:
            raise InvalidArgument("more than one until filter specified")
        return parse_moment(self["until"][0], now_ns) if "until" in self else None


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def parse_filters(text: str, allowed: frozenset[str] | None) -> Filters:
    """Both forms: `{"name": ["a"]}` and, since API 1.22, `{"name": {"a": true}}`.

    Raises InvalidArgument on what is neither, and on a key that isn't `allowed`.
    """
    if not text:
        return Filters({})
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument("invalid filter") from error
    filters = Filters(_values_of_sets(parsed) if _is_map(parsed, dict) else _values_of_lists(parsed))
    return filters if allowed is None else filters.only(allowed)


def _is_map(parsed: object, kind: type) -> bool:
    return isinstance(parsed, dict) and all(value is None or isinstance(value, kind) for value in parsed.values())


def _values_of_sets(parsed: dict[str, dict[str, object] | None]) -> dict[str, tuple[str, ...]]:
    if any(not isinstance(wanted, bool) for values in parsed.values() for wanted in (values or {}).values()):
        raise InvalidArgument("invalid filter")
    return {name: tuple(value for value, wanted in (values or {}).items() if wanted) for name, values in parsed.items()}


def _values_of_lists(parsed: object) -> dict[str, tuple[str, ...]]:
    if parsed is None:
        return {}
    if not isinstance(parsed, dict) or not _is_map(parsed, list):
        raise InvalidArgument("invalid filter")
    if any(not isinstance(value, str) for values in parsed.values() for value in values or ()):
        raise InvalidArgument("invalid filter")
    return {name: tuple(dict.fromkeys(values or ())) for name, values in parsed.items()}
