"""The filters `publish` and `expose`: "80", "80/udp", "8000-8010/tcp" (github.com/docker/go-connections/nat). Pure."""

from __future__ import annotations

from collections.abc import Iterable

from guest_agent.api.filters import Misfiltered
from guest_agent.wire.errors import InvalidArgument


def parse_port_filter(name: str, texts: Iterable[str]) -> set[tuple[object, object]]:
    """Numbers and protocols that `texts` name. Raises Misfiltered."""
    return {port for text in texts for port in _ports(name, text)}


def _ports(name: str, text: str) -> list[tuple[object, object]]:
    if ":" in text:
        raise Misfiltered(f"filter for '{name}' should not contain ':': {text}")
    numbers, _, protocol = text.partition("/")
    first, dash, last = numbers.partition("-")
    try:
        if not numbers:
            raise InvalidArgument("Empty string specified for ports.")
        start, end = _port(first), _port(last if dash else first)
    except InvalidArgument as error:
        raise Misfiltered(f"error while looking up for {name} {text}: {error.message}") from error
    if end < start:
        problem = f"Invalid range specified for the Port: {numbers}"
        raise Misfiltered(f"error while looking up for {name} {text}: {problem}")
    return [(number, protocol or "tcp") for number in range(start, end + 1)]


def _port(text: str) -> int:
    if not text.isdecimal() or not text.isascii():
        raise InvalidArgument(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if len(text) > 5 or int(text) > 65535:
        raise InvalidArgument(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)
