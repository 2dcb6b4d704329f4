"""Points in time that users type: `42m`, `1700000000`, `2013-01-02T13:23:37Z` -> what the API takes.

The API wants seconds since the epoch with a fraction (docker's timetypes.GetTimestamp). A date that `logs -t` showed
has nanoseconds, which no float and no datetime holds.
"""

from hostvm.cli.failure import Failure

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def parse_time(text: str, now: float) -> str:
    """The API's spelling; "" for "". Raises Failure."""
    if not text or _is_number(text):
        return text
    seconds = parse_duration(text)
    if seconds is not None:
        return f"{now - seconds:.9f}"
    return _parse_date(text)


def _is_number(text: str) -> bool:
    whole, _, fraction = text.partition(".")
    return whole.isdigit() and (fraction.isdigit() or not fraction)


def parse_duration(text: str) -> float | None:
    """Go's time.ParseDuration: `1h30m`; None where it is none."""
    total, rest = 0.0, text.removeprefix("-").removeprefix("+")
    if not rest:
        return None
    while rest:
        number = _leading(rest, "0123456789.")
        unit = _leading(rest[len(number) :], "hmsnuµ")
        if unit not in _UNITS or not _is_number(number):
            return None
        total += float(number) * _UNITS[unit]
        rest = rest[len(number) + len(unit) :]
    return -total if text.startswith("-") else total


def _leading(text: str, letters: str) -> str:
    return text[: len(text) - len(text.lstrip(letters))]


def _parse_date(text: str) -> str:
    """RFC 3339 in any precision from the day on; without a zone it is local time."""
    from datetime import datetime

    whole, _, rest = text.partition(".")
    fraction = _leading(rest, "0123456789")
    try:
        moment = datetime.fromisoformat(whole + rest[len(fraction) :])
    except ValueError:
        raise Failure(
            f'failed to parse value as time or duration: "{text}"', 1, "write 42m or 2013-01-02T13:23:37Z"
        ) from None
    return f"{moment.timestamp():.0f}.{fraction[:9]:0<9}"
