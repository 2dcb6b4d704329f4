"""A container's output as messages: what a destination is given. Pure.

dockerd's rule (daemon/logger, copier.go): a line is a message; a longer one comes in pieces of 16 KiB, which are told
apart by an id and an ordinal.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

_PIECE = 16 << 10


@dataclass(frozen=True, slots=True)
class Part:
    """Which piece of a long line; ordinals begin with 1."""

    id: str
    ordinal: int
    last: bool


@dataclass(frozen=True, slots=True)
class Message:
    """A line, without its newline."""

    is_error: bool  #: from the standard error output
    time_ns: int
    data: bytes
    part: Part | None = None


class Destination(Protocol):
    """Takes the messages of one container."""

    async def send(self, message: Message) -> None:
        """Waits while the other side is slow. Raises OSError where the message is lost; the next may be tried."""

    def close(self) -> None:
        """Idempotent."""


@dataclass(slots=True)
class _Line:
    """One that has begun and not ended."""

    time_ns: int
    data: bytes = b""
    part: Part | None = None


class MessageSplitter:
    """Chunks of the two streams in, messages out."""

    def __init__(self) -> None:
        self._lines: dict[bool, _Line] = {}

    @property
    def pending(self) -> bool:
        return bool(self._lines)

    def feed(self, is_error: bool, time_ns: int, data: bytes) -> Iterator[Message]:
        *ended, rest = data.split(b"\n")
        for text in ended:
            yield from self._grow(is_error, time_ns, text)
            yield self._end(is_error)
        if rest:
            yield from self._grow(is_error, time_ns, rest)

    def finish(self) -> Iterator[Message]:
        """What ended without a newline."""
        for is_error in sorted(self._lines):
            yield self._end(is_error)

    def _grow(self, is_error: bool, time_ns: int, text: bytes) -> Iterator[Message]:
        line = self._lines.setdefault(is_error, _Line(time_ns))
        line.data += text
        while len(line.data) >= _PIECE:
            line.part = _next_part(line.part, last=False)
            yield Message(is_error, line.time_ns, line.data[:_PIECE], line.part)
            line.data = line.data[_PIECE:]

    def _end(self, is_error: bool) -> Message:
        line = self._lines.pop(is_error)
        return Message(is_error, line.time_ns, line.data, line.part and _next_part(line.part, last=True))


def _next_part(part: Part | None, last: bool) -> Part:
    return Part(part.id, part.ordinal + 1, last) if part else Part(secrets.token_hex(32), 1, last)
