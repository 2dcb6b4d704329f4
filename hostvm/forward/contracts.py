"""What forwarding needs of the channel into the machine; `hostvm.supervisor.channel` has it."""

from __future__ import annotations

import socket
from typing import Protocol


class Stream(Protocol):
    """A stream with the guest. After a reset everything but `close` and `reset` raises HostvmError."""

    @property
    def queued(self) -> int:
        """Bytes that were written and haven't left."""

    async def read(self, limit: int = ...) -> bytes:
        """b"" at the end."""

    async def readline(self) -> bytes:
        """With its end; without one only at the end of the stream."""

    def write(self, data: bytes) -> None:
        """Queues all of it."""

    async def drain(self) -> None:
        """Waits while much is queued."""

    def reset(self, error: None = ...) -> None:
        """Ends both directions at once."""


class Channel(Protocol):
    """Opens streams to services of the guest. Raises HostvmError."""

    async def open(self, request: dict[str, object]) -> Stream:
        """A stream that the guest has accepted."""

    async def forward(self, request: dict[str, object], sock: socket.socket) -> dict[str, object]:
        """Opens a stream and carries bytes between it and the socket, which it owns, until both have ended.

        Half-closes and resets go through; cancelling it resets both.
        """
