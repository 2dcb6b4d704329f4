"""The lines of JSON between the host's supervisor and init, relayed raw by the agent.

Requests have an "id", which the answer repeats; what init says unasked has an "event". A supervisor that connects in
the middle asks for the status first: events before that are gone.
"""

from __future__ import annotations

import json
import socket

#: A line longer than this is no request of ours.
_LONGEST_LINE = 1 << 20

Message = dict[str, object]


class ControlLines:
    """Our end of the socket pair to the agent. Never blocks: what the agent doesn't take is dropped whole."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.setblocking(False)
        self._pending = b""

    def fileno(self) -> int:
        return self._end.fileno()

    def close(self) -> None:
        self._end.close()

    def receive(self) -> list[Message]:
        """Every request that has come whole; what isn't one is skipped. Raises EOFError at the end."""
        try:
            data = self._end.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            raise EOFError
        *lines, self._pending = (self._pending + data).split(b"\n")
        if len(self._pending) > _LONGEST_LINE:
            self._pending = b""
        return [message for line in lines if (message := parse_line(line)) is not None]

    def send(self, message: Message) -> None:
        try:
            self._end.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass  # no agent, or nobody who reads it: the status can be asked for


def parse_line(line: bytes) -> Message | None:
    """One object, or None for what is none."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
