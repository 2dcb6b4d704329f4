"""Times as Docker's API reads them, and how long ago one was; see `guest_agent.wire.times`."""

from __future__ import annotations

import re
from datetime import datetime

from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.times import SECOND

_UNIX = re.compile(r"([0-9]+)(?:\.([0-9]{1,9}))?")
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?")


def parse_timestamp(text: str) -> int:
    """`since` and `until`: "1700000000", "1700000000.123456789", or RFC 3339. "" is 0. Raises InvalidArgument."""
    if text in ("", "0"):
        return 0
    unix = _UNIX.fullmatch(text)
    if unix is not None:
        return int(unix[1]) * SECOND + int((unix[2] or "0").ljust(9, "0"))
    stamp = _RFC3339.fullmatch(text)
    if stamp is None:
        raise InvalidArgument(f'invalid timestamp: "{text}"')
    try:
        moment = datetime.fromisoformat(stamp[1] + (stamp[3] or "Z"))
    except ValueError as error:
        raise InvalidArgument(f'invalid timestamp: "{text}"') from error
    return int(moment.timestamp()) * SECOND + int((stamp[2] or "0")[:9].ljust(9, "0"))


_GO_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|[smh]))+")
_GO_UNITS = {"ms": SECOND // 1000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}


def parse_moment(text: str, now_ns: int) -> int:
    """`until` of a prune: a time, or how long ago in Go's spelling ("1h30m"). Raises InvalidArgument."""
    if not _GO_DURATION.fullmatch(text):
        return parse_timestamp(text)
    parts = re.findall(r"([0-9.]+)(ms|[smh])", text)
    return now_ns - sum(int(float(number) * _GO_UNITS[unit]) for number, unit in parts)


def human_duration(nanoseconds: int) -> str:
    """ "About a minute", "3 hours": how long ago, as `docker ps` says it (Go's `units.HumanDuration`)."""
    seconds = nanoseconds // SECOND
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    if seconds < 3600:
        return "About a minute" if seconds < 120 else f"{seconds // 60} minutes"
    return _human_hours((seconds + 1800) // 3600)  # hours are rounded to the nearest, minutes were cut


def _human_hours(hours: int) -> str:
    if hours == 1:
        return "About an hour"
    for limit, divisor, unit in ((48, 1, "hours"), (24 * 14, 24, "days"), (24 * 60, 24 * 7, "weeks")):
        if hours < limit:
            return f"{hours // divisor} {unit}"
    return f"{hours // 24 // 30} months" if hours < 24 * 365 * 2 else f"{hours // 24 // 365} years"
