"""Which log driver a container has, and what its options mean. Pure, in dockerd's words (daemon/logger).

Every driver's output goes through the same files (`output`), from which attached clients read; a driver says how much
of it is kept, and whether `logs` may read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from guest_agent.engine.output import Limits
from guest_agent.logs import syslog
from guest_agent.wire.errors import InvalidArgument, Unsupported
from guest_agent.wire.go_numbers import FALSE, TRUE, parse_integer, parse_truth
from guest_agent.wire.models import HostConfig

_METADATA = frozenset({"labels", "labels-regex", "env", "env-regex", "tag"})
_ROTATION = frozenset({"max-size", "max-file", "compress"})

#: Driver -> the options that it knows beside `mode` and `max-buffer-size`; None = any.
DRIVERS: dict[str, frozenset[str] | None] = {
    "json-file": _METADATA | _ROTATION,
    "local": _METADATA | _ROTATION,
    "journald": _METADATA,
    "syslog": _METADATA | syslog.OPTIONS,
    "none": None,
}

#: Those whose messages go elsewhere (`shipping`); what we keep ourselves is then dockerd's cache for `logs`.
SHIPPED = frozenset({"journald", "syslog"})

#: For all drivers: how a slow one is treated. Ours never hold a container up, so there is nothing to do for it.
_DELIVERY = frozenset({"mode", "max-buffer-size"})
#: For all drivers, too: how much of its messages is kept for `logs`, in the driver `local`'s own options.
_CACHE_PREFIX = "cache-"
_CACHE = frozenset({"cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"})

#: local's own: 20 MB, five times.
_LOCAL = {"max-size": "20m", "max-file": "5"}
#: With `none` the files are a buffer for attached clients, no log.
_BUFFER = Limits(1 << 20, 2)

#: units.FromHumanSize: decimal multiples.
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_MULTIPLES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}

#: More are no size of anything, and in the end too much for a float.
_MOST_DIGITS = 32

_EXPRESSIONS = frozenset({"labels-regex", "env-regex"})


@dataclass(frozen=True, slots=True)
class LogDefaults:
    """The engine's own choice for containers that don't say."""

    driver: str = "json-file"
    options: dict[str, str] = field(default_factory=dict)


def resolve_log_config(host: HostConfig, defaults: LogDefaults) -> tuple[str, dict[str, str]]:
    """Driver and options with the engine's defaults in them. Raises InvalidArgument where they make no sense."""
    driver = host.log_driver or defaults.driver
    options = {**(defaults.options if driver == defaults.driver else {}), **host.log_options}
    check_log_config(driver, options)
    return driver, options


def check_log_config(driver: str, options: Mapping[str, str]) -> None:
    """Raises InvalidArgument."""
    if driver == "none":
        return
    _check_delivery(options)
    if driver not in DRIVERS:
        raise InvalidArgument(
            f'error looking up logging plugin {driver}: plugin "{driver}" not found', f"there are: {', '.join(DRIVERS)}"
        )
    known = DRIVERS[driver] or frozenset()
    for name in options:
        if name not in known and name not in _DELIVERY and name not in _CACHE:
            raise InvalidArgument(_unknown_option(driver, name))
    _check_rotation(driver, options)
    for name in sorted(_EXPRESSIONS & options.keys()):
        _check_expression(options[name])
    if driver == "syslog":
        syslog.check_options(options)


def _check_delivery(options: Mapping[str, str]) -> None:
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidArgument(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        if mode != "non-blocking":
            raise InvalidArgument("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
        with _blamed("error parsing option max-buffer-size"):
            parse_size(options["max-buffer-size"])
    cached = options.get("cache-disabled", "")
    if cached and cached not in TRUE | FALSE:
        raise InvalidArgument(f"invalid value for option cache-disabled: {cached}")


def _unknown_option(driver: str, name: str) -> str:
    if driver == "local":
        return f"unknown log opt '{name}' for log driver local"
    return f"unknown log opt '{name}' for {driver} log driver"


def _check_expression(text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise InvalidArgument(f"error parsing regexp: {error.msg}: `{text}`") from None


@contextmanager
def _blamed(what: str) -> Iterator[None]:
    try:
        yield
    except InvalidArgument as error:
        raise InvalidArgument(f"{what}: {error.message}" if what else error.message) from None


def _check_rotation(driver: str, options: Mapping[str, str]) -> None:
    """dockerd looks at these values when it starts a container; here they are wrong before there is one."""
    is_local = driver == "local"
    if "max-size" in options:
        with _blamed(f"invalid value for max-size: {options['max-size']}" if is_local else ""):
            parse_size(options["max-size"])
    if "max-file" in options:
        with _blamed(f"invalid value for max-file: {options['max-file']}" if is_local else ""):
            parse_integer(options["max-file"])
    with _blamed("error reading compress log option" if is_local else ""):
        compresses = parse_truth(options.get("compress", str(is_local)))
    limits = _limits(driver, options)
    if compresses and is_local and limits.count < 2:
        raise InvalidArgument("compression cannot be enabled when max file count is 1")
    if compresses and not is_local and (limits.count < 2 or not limits.size):
        raise InvalidArgument("compress cannot be true when max-file is less than 2 or max-size is not set")


def plan_limits(host: HostConfig) -> Limits:
    """How much of its output is kept."""
    if host.log_driver == "none":
        return _BUFFER
    try:
        return _limits(host.log_driver, host.log_options)
    except InvalidArgument:  # a record from before options were checked
        return Limits()


def _limits(driver: str, options: Mapping[str, str]) -> Limits:
    """max-file without max-size has no effect."""
    if driver in SHIPPED:
        options = {name.removeprefix(_CACHE_PREFIX): text for name, text in options.items() if name in _CACHE}
    options = {**(_LOCAL if driver == "local" or driver in SHIPPED else {}), **options}
    count = _count(options.get("max-file", "1"))
    if "max-size" not in options:
        return Limits()
    size = parse_size(options["max-size"])
    if size <= 0:
        raise InvalidArgument("max-size must be a positive number")
    return Limits(size, count)


def _count(text: str) -> int:
    count = parse_integer(text)
    if count < 1:
        raise InvalidArgument("max-file cannot be less than 1")
    return count


def parse_size(text: str) -> int:
    """ "10m" -> 10,000,000 bytes."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or len(found[1]) > _MOST_DIGITS:
        raise InvalidArgument(f"invalid size: '{text}'")
    return int(float(found[1]) * _MULTIPLES[found[2].lower()])


def check_readable(host: HostConfig) -> None:
    """Raises Unsupported where there is no log to read. The journal is one, with a cache of ours or without."""
    uncached = host.log_driver == "syslog" and host.log_options.get("cache-disabled") in TRUE
    if host.log_driver == "none" or uncached:
        raise Unsupported("configured logging driver does not support reading")
