"""Which log driver a container has, and what its options mean. Pure, in dockerd's words (daemon/logger).

Every driver's output goes through the same files (`output`), from which attached clients read; a driver says how much
of it is kept, and whether `logs` may read it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote_plus

from guest_agent.engine.container import Container
from guest_agent.engine.output import Limits
from guest_agent.wire.errors import InvalidArgument, Unsupported
from guest_agent.wire.models import HostConfig

_METADATA = frozenset({"labels", "labels-regex", "env", "env-regex", "tag"})
_ROTATION = frozenset({"max-size", "max-file", "compress"})

#: Driver -> the options that it knows beside `mode` and `max-buffer-size`; None = any.
DRIVERS: dict[str, frozenset[str] | None] = {
    "json-file": _METADATA | _ROTATION,
    "local": _METADATA | _ROTATION,
    "none": None,
}

#: For all drivers: how a slow one is treated. Ours never hold a container up, so there is nothing to do for it.
_DELIVERY = frozenset({"mode", "max-buffer-size"})

#: local's own: 20 MB, five times.
_LOCAL = {"max-size": "20m", "max-file": "5"}
#: With `none` the files are a buffer for attached clients, no log.
_BUFFER = Limits(1 << 20, 2)

#: units.FromHumanSize: decimal multiples.
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_MULTIPLES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}

#: More are no size of anything, and in the end too much for a float.
_MOST_DIGITS = 32

_TAG_FIELD = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


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
            f"logger: no log driver named '{driver}' is registered", f"there are: {', '.join(DRIVERS)}"
        )
    known = DRIVERS[driver] or frozenset()
    for name in options:
        if name not in known and name not in _DELIVERY:
            raise InvalidArgument(_unknown_option(driver, name))
    _check_rotation(driver, options)


def _check_delivery(options: Mapping[str, str]) -> None:
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidArgument(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        if mode != "non-blocking":
            raise InvalidArgument("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
        parse_size(options["max-buffer-size"])


def _unknown_option(driver: str, name: str) -> str:
    if driver == "local":
        return f"unknown log opt '{name}' for log driver local"
    return f"unknown log opt '{name}' for {driver} log driver"


def _check_rotation(driver: str, options: Mapping[str, str]) -> None:
    limits = _limits(driver, options)
    if options.get("compress", "false") in ("true", "1", "t") and driver == "json-file":
        if limits.count < 2 or not limits.size:
            raise InvalidArgument("compress cannot be true when max-file is less than 2 or max-size is not set")
    elif options.get("compress", "false") not in ("false", "0", "f", "true", "1", "t"):
        text = options["compress"]
        raise InvalidArgument(f'strconv.ParseBool: parsing "{text}": invalid syntax')


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
    options = {**(_LOCAL if driver == "local" else {}), **options}
    count = _count(options.get("max-file", "1"))
    if "max-size" not in options:
        return Limits()
    size = parse_size(options["max-size"])
    if size <= 0:
        raise InvalidArgument("max-size must be a positive number")
    return Limits(size, count)


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        raise InvalidArgument(f'strconv.Atoi: parsing "{text}": invalid syntax') from None
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
    """Raises Unsupported where there is no log to read."""
    if host.log_driver == "none":
        raise Unsupported("configured logging driver does not support reading")


# -- what `logs --details` shows


def log_attributes(container: Container) -> dict[str, str]:
    """Labels and variables that the options name, and the tag."""
    options = container.host_config.log_options
    variables = dict(variable.partition("=")[::2] for variable in container.config.environment)
    found = _chosen(container.config.labels, options.get("labels", ""), options.get("labels-regex", ""))
    found |= _chosen(variables, options.get("env", ""), options.get("env-regex", ""))
    if options.get("tag"):
        found["tag"] = expand_tag(options["tag"], container)
    return found


def _chosen(values: Mapping[str, str], names: str, pattern: str) -> dict[str, str]:
    wanted = set(names.split(","))
    matches = _matcher(pattern)
    return {name: value for name, value in values.items() if name in wanted or matches(name)}


def _matcher(pattern: str) -> Callable[[str], object]:
    if not pattern:
        return lambda name: False
    try:
        return re.compile(pattern).search
    except re.error:
        return lambda name: False


def expand_tag(template: str, container: Container) -> str:
    """The fields of docker's tag templates; another one stays as it is."""
    image = container.image_id.partition(":")[2]
    fields = {
        "ID": container.short_id,
        "FullID": container.id,
        "Name": container.name,
        "ImageID": image[:12],
        "ImageFullID": container.image_id,
        "ImageName": container.image_name,
        "DaemonName": "docker",
    }
    return _TAG_FIELD.sub(lambda match: fields.get(match[1], match[0]), template)


def details_prefix(container: Container) -> bytes:
    """What stands before each line: "key=value,key=value "."""
    pairs = sorted(log_attributes(container).items())
    return (",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in pairs) + " ").encode()
