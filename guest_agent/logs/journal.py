"""The systemd journal's native protocol (systemd, docs/JOURNAL_NATIVE_PROTOCOL.md), with dockerd's fields.

An entry is a datagram of fields. One that is too large for a datagram goes into a sealed memfd, whose descriptor is
sent instead.
"""

from __future__ import annotations

import array
import asyncio
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Mapping

from guest_agent.logs.messages import Message
from guest_agent.wire.times import rfc3339

SOCKET = "/run/systemd/journal/socket"

_LENGTH = struct.Struct("<Q")
_PRIORITY_ERROR, _PRIORITY_INFORMATION = "3", "6"
_TOO_LARGE = frozenset({errno.EMSGSIZE, errno.ENOBUFS})
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def sanitize_field(name: str) -> str:
    """A label's or variable's name as a field's: capitals, digits and underscores, none of which is the first."""
    upper = "".join(sign.upper() if sign.isascii() and sign.isalnum() else "_" for sign in name)
    return upper.lstrip("_")


def render_entry(fields: Mapping[str, bytes]) -> bytes:
    """The datagram. A value with a newline has its length before it, in 64 bits, little endian."""
    return b"".join(
        name.encode() + (b"\n" + _LENGTH.pack(len(value)) if b"\n" in value else b"=") + value + b"\n"
        for name, value in fields.items()
    )


def plan_fields(common: Mapping[str, str], message: Message) -> dict[str, bytes]:
    """A message's fields beside those that all of its container's have."""
    priority = _PRIORITY_ERROR if message.is_error else _PRIORITY_INFORMATION
    fields = {**common, "PRIORITY": priority, "SYSLOG_TIMESTAMP": rfc3339(message.time_ns)}
    if message.part:
        fields["CONTAINER_PARTIAL_ID"] = message.part.id
        fields["CONTAINER_PARTIAL_ORDINAL"] = str(message.part.ordinal)
        fields["CONTAINER_PARTIAL_LAST"] = str(message.part.last).lower()
        if not message.part.last:
            fields["CONTAINER_PARTIAL_MESSAGE"] = "true"
    return {"MESSAGE": message.data, **{name: value.encode() for name, value in fields.items()}}


class Journal:
    """A `Destination`."""

    def __init__(self, common: Mapping[str, str], path: str = SOCKET) -> None:
        """Raises OSError where no journal listens."""
        self._common = common
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    async def send(self, message: Message) -> None:
        entry = render_entry(plan_fields(self._common, message))
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, entry)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            await self._send_large(entry)

    async def _send_large(self, entry: bytes) -> None:
        """The descriptor is alone in its datagram; the journal reads no memfd that could still change."""
        memory = os.memfd_create("journal-entry", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        try:
            with open(memory, "wb", closefd=False) as file:
                file.write(entry)
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
            while not self._send_descriptor(memory):
                await _wait_writable(self._socket)
        finally:
            os.close(memory)

    def _send_descriptor(self, descriptor: int) -> bool:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))
        try:
            self._socket.sendmsg([], [rights])
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()


async def _wait_writable(one: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(one, ready.cancel)
    try:
        await asyncio.wait((ready,))
    finally:
        loop.remove_writer(one)
