"""Signals by docker's spellings: "KILL", "SIGKILL", "9", "RTMIN+3"."""

from __future__ import annotations

import re
import signal

from guest_agent.wire.errors import InvalidArgument

_REAL_TIME = re.compile(r"RT(MIN|MAX)([+-]\d+)?")
DEFAULT_STOP_SIGNAL = "SIGTERM"


def parse_signal(text: str) -> int:
    """The signal's number. Raises InvalidArgument in docker's wording."""
    given = text.strip()
    if given.isdecimal() and 0 < int(given) <= signal.SIGRTMAX:
        return int(given)
    name = given.upper().removeprefix("SIG")
    real_time = _REAL_TIME.fullmatch(name)
    if real_time:
        base = signal.SIGRTMIN if real_time[1] == "MIN" else signal.SIGRTMAX
        number = base + int(real_time[2] or 0)
        if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            return number
    try:
        return signal.Signals[f"SIG{name}"].value
    except KeyError:
        raise InvalidArgument(f"Invalid signal: {text}") from None
