"""Messages between keeper and engine: JSON objects on a stream socket, file descriptors beside them.

A message is a big-endian u32 length and that many bytes of JSON; `nfds` in it tells how many descriptors came with its
first byte (SCM_RIGHTS). A stream keeps both in order, so descriptors are matched to messages by counting. A datagram
socket would lose messages under load: 200 spawns at once overran its queue.

engine -> keeper
  {"op": "spawn", "id", "argv", "env", "targets": [child fd, ...], "brief"} + fds
                                          reply {"id", "pid", "ticks"} or {"id", "error": errno}
  {"op": "hold", "key", "note"} + fds     keep copies of the descriptors for a successor of the engine
  {"op": "drop", "key"}                   close them
  {"op": "ready"}                         the engine serves: tell whoever started us
  {"op": "failed", "error": {...}}        the engine can't start at all
  {"op": "quit"}                          don't restart the engine when it ends; end with it
  {"op": "rest"}                          restart it only when the next client connects; containers go on
keeper -> engine
  {"held": key, "note"} + fds             one for each key, at the engine's start, then
  {"welcome": true}                       that was all, and what was `brief` of a predecessor's has ended
  {"exit": pid, "ticks", "status"}        a child, or an orphan below us, ended (status as from waitpid)
"""

from __future__ import annotations

import json
import socket
import struct
from collections import deque
from collections.abc import Sequence

_LENGTH = struct.Struct(">I")

#: Linux passes at most 253 descriptors in one message (SCM_MAX_FD).
MAX_FDS = 253

Message = dict[str, object]

#: Level, type and data of one control message, as sendmsg(2) takes it.
Ancillary = tuple[int, int, bytes]


def encode(message: Message) -> bytes:
    payload = json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(payload)) + payload


class Decoder:
    """Bytes and descriptors in, whole messages out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fds: deque[int] = deque()

    def feed(self, data: bytes, fds: Sequence[int]) -> list[tuple[Message, list[int]]]:
        """The messages that `data` completes, each with the descriptors that belong to it."""
        self._buffer += data
        self._fds.extend(fds)
        messages = []
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                break
            message: Message = json.loads(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            count = int(str(message.get("nfds", 0)))
            messages.append((message, [self._fds.popleft() for _ in range(count)]))
        return messages


def receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """One recvmsg: data (b"" at the peer's end) and descriptors, close-on-exec."""
    data, ancillary, _flags, _address = connection.recvmsg(
        1 << 16, socket.CMSG_SPACE(MAX_FDS * 4), socket.MSG_CMSG_CLOEXEC
    )
    fds: list[int] = []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds += struct.unpack(f"{len(payload) // 4}i", payload[: len(payload) // 4 * 4])
    return data, fds


def outgoing(message: Message, fds: Sequence[int] = ()) -> tuple[bytes, list[Ancillary]]:
    """What sendmsg takes: the message's bytes, and its descriptors as ancillary data."""
    if not fds:
        return encode(message), []
    ancillary = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))
    return encode({**message, "nfds": len(fds)}), [ancillary]


def send(connection: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Send all of it, blocking where the queue is full."""
    data, ancillary = outgoing(message, fds)
    sent = connection.sendmsg([data], ancillary)
    if sent < len(data):
        connection.sendall(data[sent:])
