"""The query of a request, read as dockerd reads it; and the `filters` parameter."""

from __future__ import annotations

from urllib.parse import parse_qs

from guest_agent.api.filters import Filters, parse_filters
from guest_agent.api.times import parse_timestamp
from guest_agent.wire.go_numbers import parse_integer

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
        return parse_integer(text) if text else default

    def size(self) -> tuple[int, int]:
        """A terminal's rows and columns, `h` and `w`; both must be there."""
        return parse_integer(self.text("h")), parse_integer(self.text("w"))

    def timeout(self) -> int | None:
        """Seconds of `t`; None if it isn't there."""
        return self.integer("t") if self.text("t") else None

    def timestamp(self, name: str) -> int:
        """Nanoseconds; 0 if it isn't there."""
        return parse_timestamp(self.text(name))

    def filters(self, allowed: frozenset[str] | None = None) -> Filters:
        """None allows every key."""
        return parse_filters(self.text("filters"), allowed)
