"""Times as Go's time.RFC3339Nano writes them, in UTC. Inside they are nanoseconds since the epoch, 0 = never."""

from __future__ import annotations

from datetime import UTC, datetime

SECOND = 1_000_000_000
#: Go's zero time, which stands for "never".
NEVER = "0001-01-01T00:00:00Z"


def rfc3339(nanoseconds: int) -> str:
    """No trailing zeros in the fraction."""
    if nanoseconds <= 0:
        return NEVER
    seconds, fraction = divmod(nanoseconds, SECOND)
    digits = f"{fraction:09d}".rstrip("0")
    return f"{_whole(seconds)}.{digits}Z" if digits else f"{_whole(seconds)}Z"


def rfc3339_padded(nanoseconds: int) -> str:
    """All nine digits, so that stamps align."""
    seconds, fraction = divmod(nanoseconds, SECOND)
    return f"{_whole(seconds)}.{fraction:09d}Z"


def _whole(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def go_duration(nanoseconds: int) -> str:
    """Go's `Duration.String` for nothing, and for what is at least a millisecond: "0s", "1m30s", "1.5s", "250ms"."""
    if 0 < nanoseconds < SECOND:
        return f"{_number(nanoseconds, 10**6)}ms"
    minutes, rest = divmod(nanoseconds, 60 * SECOND)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_number(rest, SECOND)}s"
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}" if minutes else seconds


def _number(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    digits = f"{fraction:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
