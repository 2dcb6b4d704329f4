"""Waiting for what comes by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
#: Seconds after which something that should come by itself counts as never coming.
PATIENCE = 30.0


def wait_for(probe: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """The probe's first true value. Raises AssertionError naming `what` when the deadline passes first."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}; last seen: {value!r}"
        time.sleep(0.02)
