"""Waiting for what comes by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
#: Seconds after which something that should come by itself counts as never coming, natively.
PATIENCE = 30.0

_pace = [1.0]


@contextmanager
def paced(factor: float) -> Iterator[None]:
    """Every deadline of the tests is this much longer meanwhile: an emulated machine is slower than its host."""
    _pace.append(factor)
    yield
    _pace.pop()


def patience(seconds: float = PATIENCE) -> float:
    """A deadline that suffices natively -> the one for the machine under test."""
    return seconds * _pace[-1]


def wait_for(probe: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """The probe's first true value. Raises AssertionError naming `what` when the deadline passes first."""
    deadline = time.monotonic() + patience(seconds)
    while True:
        value = probe()
        if value:
            return value
        late = f"waited {patience(seconds):.0f} s in vain for {what}; last seen: {value!r}"
        assert time.monotonic() < deadline, late
        time.sleep(0.02)
