"""`HEALTHCHECK [--interval=30s …] CMD …` and `HEALTHCHECK NONE` as a configuration has them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable

from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import Healthcheck

_UNITS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|us|ns|s))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|us|ns|s)")
_FIELDS = {"interval": "interval", "timeout": "timeout", "start-period": "start_period", "retries": "retries"}


def parse_healthcheck(text: str) -> Healthcheck:
    """Raises InvalidArgument."""
    check, rest = Healthcheck(), text
    while rest.startswith("--"):
        flag, _space, rest = rest.partition(" ")
        check = _with_flag(check, flag)
        rest = rest.strip()
    kind, _space, command = rest.partition(" ")
    if kind.upper() == "NONE":
        if command.strip():
            raise InvalidArgument("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(test=("NONE",))
    if kind.upper() != "CMD":
        raise InvalidArgument(f"Unknown type {json.dumps(kind.upper())} in HEALTHCHECK (try CMD)")
    if not command.strip():
        raise InvalidArgument("Missing command after HEALTHCHECK CMD")
    return dataclasses.replace(check, test=_test(command.strip()))


def _test(command: str) -> tuple[str, ...]:
    try:
        words = json.loads(command)
    except ValueError:
        return ("CMD-SHELL", command)
    return ("CMD", *map(str, words)) if isinstance(words, list) else ("CMD-SHELL", command)


def _with_flag(check: Healthcheck, flag: str) -> Healthcheck:
    name, equals, value = flag.removeprefix("--").partition("=")
    field = _FIELDS.get(name)
    if field is None:
        raise InvalidArgument(f"Unknown flag: {name}")
    if not equals:
        raise InvalidArgument(f"Missing a value on flag: {name}")
    number = _count(value) if name == "retries" else _duration(name, value)
    replace: Callable[..., Healthcheck] = dataclasses.replace
    return replace(check, **{field: number})


def _count(value: str) -> int:
    if not value.isdecimal():
        raise InvalidArgument(f'strconv.ParseInt: parsing "{value}": invalid syntax')
    return int(value)


def _duration(name: str, value: str) -> int:
    """Nanoseconds of Go's spelling, at least a millisecond."""
    if not _DURATION.fullmatch(value):
        raise InvalidArgument(f'time: invalid duration "{value}"')
    total = sum(int(float(number) * _UNITS[unit]) for number, unit in _PART.findall(value))
    if 0 < total < 10**6:
        raise InvalidArgument(f"Interval {json.dumps(name)} cannot be less than 1ms")
    return total
