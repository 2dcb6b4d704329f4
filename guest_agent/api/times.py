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


_GO_DURATION = re.compile(r"[-+]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[nuµμm]?s|[mh]))+")
_GO_UNITS = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ms": 10**6,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?)?(Z|[+-]\d\d:\d\d)?", re.ASCII)


def parse_moment(text: str, now_ns: int) -> int:
    """A filter's `until`: how long ago in Go's spelling ("1h30m"), a date or a time, or seconds since the epoch.

    As moby's api/types/time.GetTimestamp, which wants whole seconds of a duration. Raises InvalidArgument.
    """
    if _GO_DURATION.fullmatch(text):
        return (now_ns - _parse_duration(text)) // SECOND * SECOND
    if _DATE.fullmatch(text):
        return _parse_date(text)
    if _UNIX.fullmatch(text):
        return parse_timestamp(text)
    if "-" in text:
        raise InvalidArgument(f'parsing time "{text}" as "2006-01-02": cannot parse "{text}" as "2006"')
    raise InvalidArgument(f'failed to parse value as time or duration: "{text}"')


def _parse_duration(text: str) -> int:
    parts = re.findall(r"([0-9.]+)([a-zµμ]+)", text)
    length = sum(int(float(number) * _GO_UNITS[unit]) for number, unit in parts)
    return -length if text.startswith("-") else length


def _parse_date(text: str) -> int:
    """Without a zone it is the engine's own."""
    found = _DATE.fullmatch(text)
    assert found is not None
    date, hour, minute, second, zone = (part or "" for part in found.groups())
    whole, _, fraction = second.partition(".")
    try:
        moment = datetime.fromisoformat(f"{date}T{hour or '00'}:{minute or '00'}:{whole or '00'}{zone}")
    except ValueError as error:
        raise InvalidArgument(f'parsing time "{text}": {str(error).split()[0]} out of range') from error
    return int(moment.timestamp()) * SECOND + int(fraction[:9].ljust(9, "0"))


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
