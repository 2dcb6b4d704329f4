"""The query of a request, read as dockerd reads it; and the `filters` parameter."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

from guest_agent.api.times import parse_timestamp
from guest_agent.wire.errors import InvalidArgument

_FALSE = ("", "0", "no", "false", "none")


class Query:
    """Parsed at the first look: many requests have none."""

    def __init__(self, text: str) -> None:
        self._values = parse_qs(text, keep_blank_values=True, errors="surrogateescape") if text else {}

    def text(self, name: str, default: str = "") -> str:
        values = self._values.get(name)
        return values[0] if values else default

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self._values.get(name, ()))

    def flag(self, name: str, default: bool = False) -> bool:
        """As dockerd's `BoolValue`: all but "", 0, no, false and none is true."""
        if name not in self._values:
            return default
        return self.text(name).strip().lower() not in _FALSE

    def integer(self, name: str, default: int = 0) -> int:
        """Raises InvalidArgument as Go's `strconv.Atoi` words it."""
        text = self.text(name)
        if not text:
            return default
        try:
            return int(text)
        except ValueError:
            raise InvalidArgument(f'strconv.Atoi: parsing "{text}": invalid syntax') from None

    def size(self) -> tuple[int, int]:
        """A terminal's rows and columns, `h` and `w`; both must be there."""
        return self._needed("h"), self._needed("w")

    def _needed(self, name: str) -> int:
        if not self.text(name):
            raise InvalidArgument('strconv.Atoi: parsing "": invalid syntax')
        return self.integer(name)

    def timeout(self) -> int | None:
        """Seconds of `t`; None if it isn't there."""
        return self.integer("t") if self.text("t") else None

    def timestamp(self, name: str) -> int:
        """Nanoseconds; 0 if it isn't there."""
        return parse_timestamp(self.text(name))

    def filters(self, allowed: frozenset[str] | None = None) -> Filters:
        """None allows every key."""
        return parse_filters(self.text("filters"), allowed)


class Filters:
    """`{"label": {"a", "b=c"}}`, with the ways of matching that dockerd has."""

    def __init__(self, values: dict[str, tuple[str, ...]]) -> None:
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

    def also(self, name: str, value: str) -> Filters:
        """The same with one more value."""
        return Filters({**self._values, name: (*self[name], value)})

    def exact(self, name: str, value: str) -> bool:
        """True if nothing is asked for, or one of the values is this one."""
        return name not in self or value in self[name]

    def labels(self, labels: dict[str, str], name: str = "label") -> bool:
        """Every wanted `key` or `key=value` is among `labels`."""
        return all(_has_label(labels, wanted) for wanted in self[name])

    def flag(self, name: str) -> bool | None:
        """None if nothing is asked for. Raises InvalidArgument on what is no truth value."""
        if name not in self:
            return None
        values = {value.lower() for value in self[name]}
        for accepted, answer in ((("1", "true", "t"), True), (("0", "false", "f"), False)):
            if values <= set(accepted):
                return answer
        raise InvalidArgument(f"invalid filter '{name}={' '.join(self[name])}'")


def _has_label(labels: dict[str, str], wanted: str) -> bool:
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
        raise InvalidArgument(f"invalid filter: {error}") from error
    if not isinstance(parsed, dict):
        raise InvalidArgument("invalid filter: it must be a JSON object")
    for name in parsed:
        if allowed is not None and name not in allowed:
            raise InvalidArgument(f"invalid filter '{name}'")
    return Filters({name: _filter_values(name, values) for name, values in parsed.items()})


def _filter_values(name: str, values: object) -> tuple[str, ...]:
    if isinstance(values, dict):
        return tuple(str(value) for value, wanted in values.items() if wanted)
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return tuple(values)
    raise InvalidArgument(f"invalid filter '{name}': its values must be a list of strings")
