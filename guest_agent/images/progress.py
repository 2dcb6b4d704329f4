"""Docker's progress objects, the lines of a pull as JSON (moby pkg/streamformatter and pkg/jsonmessage). Pure."""

from __future__ import annotations

from typing import Any

Progress = dict[str, Any]

#: Seconds between two bars of one layer: docker's 100 ms.
BAR_INTERVAL = 0.1
#: jsonmessage.go draws a bar of this width when it doesn't know the terminal's.
_BAR_WIDTH = 50
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def line(text: str) -> Progress:
    """A line of its own: {"status": …}."""
    return {"status": text}


def step(status: str, identity: str) -> Progress:
    """A layer's line that shows no bar."""
    return {"status": status, "progressDetail": {}, "id": identity}


def bar(status: str, identity: str, current: int, total: int) -> Progress:
    """A layer's line with its bar."""
    detail = {"current": current, "total": total}
    return {"status": status, "progressDetail": detail, "progress": drawn(current, total), "id": identity}


def drawn(current: int, total: int) -> str:
    """`[=====>     ]  1.2MB/3.4MB`, for clients that don't draw themselves."""
    filled = min(_BAR_WIDTH, _BAR_WIDTH * current // max(total, 1))
    return f"[{'=' * filled}>{' ' * (_BAR_WIDTH - filled)}] {_size(current):>8}/{_size(total)}"


def _size(number: int) -> str:
    """Four significant digits, decimal units: go-units' HumanSize."""
    value = float(number)
    unit = 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    return f"{value:.4g}{_UNITS[unit]}"


def short(digest: str) -> str:
    """The 12 digits by which a line is known."""
    return digest.removeprefix("sha256:")[:12]
