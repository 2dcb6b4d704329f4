"""Sizes and durations for people, in the words of docker's go-units."""

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def human_size(size: float, precision: int = 3) -> str:
    """`1.24MB`: decimal units, three significant digits (units.HumanSizeWithPrecision)."""
    return _scaled(size, 1000.0, _DECIMAL, precision)


def bytes_size(size: float) -> str:
    """`1.944GiB`: binary units, four significant digits (units.BytesSize)."""
    return _scaled(size, 1024.0, _BINARY, 4)


def _scaled(size: float, base: float, units: tuple[str, ...], precision: int) -> str:
    unit = 0
    while size >= base and unit < len(units) - 1:
        size /= base
        unit += 1
    return f"{_significant(size, precision)}{units[unit]}"


def _significant(value: float, precision: int) -> str:
    """Go's %.3g: like C's, with two digits in the exponent, which both have."""
    return f"{value:.{precision}g}"


def human_duration(seconds: float) -> str:
    """`About a minute`, `3 weeks` (units.HumanDuration)."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = int(seconds / 60)
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    return _long_duration(int(seconds / 3600 + 0.5))


def _long_duration(hours: int) -> str:
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{hours // 24 // 365} years"


def ago(created: float, now: float) -> str:
    """`2 minutes ago`, from seconds since the epoch."""
    return f"{human_duration(now - created)} ago"


def truncate_id(identifier: str) -> str:
    """Twelve digits of an id, without its algorithm."""
    return identifier.partition(":")[2][:12] if ":" in identifier else identifier[:12]


def ellipsis(text: str, width: int) -> str:
    """Docker's formatter.Ellipsis: at most `width` characters, the last being `…` where something was cut."""
    if len(text) <= width:
        return text
    return text[: width - 1] + "…" if width > 1 else text[:width]
