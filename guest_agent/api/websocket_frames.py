"""RFC 6455 for a server, sans-IO: bytes in, events out, frames as bytes. No extensions, no subprotocols.

A message's payload is handed on as it comes: docker's attach is a stream of bytes, whose frames mean nothing. So a
frame of any size costs no more memory than what was read of it at once.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from guest_agent.wire.errors import PeerMisbehaved

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  #: section 1.3
_CONTROL_LIMIT = 125  #: section 5.5


class Opcode(IntEnum):
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(IntEnum):
    """Section 7.4.1."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    NONE_GIVEN = 1005  #: never sent


@dataclass(frozen=True, slots=True)
class Data:
    """Part of a message."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The peer sends nothing after it."""

    code: int


WebSocketEvent = Data | Ping | Close


def accept_key(key: str) -> str:
    """`Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key`."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def encode_frame(opcode: Opcode, payload: bytes) -> bytes:
    """A whole, unmasked message, as a server sends it."""
    first, size = 0x80 | opcode, len(payload)
    if size < 126:
        head = struct.pack("!BB", first, size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, 126, size)
    else:
        head = struct.pack("!BBQ", first, 127, size)
    return head + payload


def encode_close(code: int) -> bytes:
    return encode_frame(Opcode.CLOSE, b"" if code == CloseCode.NONE_GIVEN else struct.pack("!H", code))


@dataclass(slots=True)
class _Frame:
    """The frame whose payload is being read."""

    opcode: Opcode
    left: int
    mask: bytes
    payload: bytes = b""  #: of a control frame, so far


class FrameReader:
    """What a client sends. After a Close, or an error, nothing more may be fed."""

    def __init__(self) -> None:
        self._buffer = bytearray()  # its front is cut off in constant time
        self._frame: _Frame | None = None
        self._in_message = False
        self._closed = False

    def feed(self, data: bytes) -> Iterator[WebSocketEvent]:
        """The events that `data` completes. Raises PeerMisbehaved; section 10.2 wants PROTOCOL_ERROR as the answer."""
        self._buffer += data
        while not self._closed:
            if self._frame is None and not self._begin_frame():
                return
            assert self._frame is not None
            frame = self._frame
            piece = self._take_payload(frame)
            if frame.opcode < Opcode.CLOSE:
                if piece:
                    yield Data(piece)
            else:
                frame.payload += piece
                if not frame.left:
                    yield from self._control(frame)
            if frame.left:
                return
            self._frame = None

    def _begin_frame(self) -> bool:
        """False where the head isn't whole yet."""
        if len(self._buffer) < 2:
            return False
        first, second = self._buffer[0], self._buffer[1]
        short = second & 0x7F
        size_bytes = {126: 2, 127: 8}.get(short, 0)
        head = 2 + size_bytes + 4
        self._check(first, second)
        if len(self._buffer) < head:
            return False
        size = int.from_bytes(self._buffer[2 : 2 + size_bytes], "big") if size_bytes else short
        if size >= 1 << 63:
            raise PeerMisbehaved("websocket: a frame's length has its highest bit set")
        self._frame = _Frame(Opcode(first & 0x0F), size, bytes(self._buffer[head - 4 : head]))
        if self._frame.opcode < Opcode.CLOSE:
            self._in_message = not first & 0x80
        del self._buffer[:head]
        return True

    def _check(self, first: int, second: int) -> None:
        opcode, final = first & 0x0F, bool(first & 0x80)
        if first & 0x70:
            raise PeerMisbehaved("websocket: a reserved bit is set")
        if opcode not in set(Opcode):
            raise PeerMisbehaved(f"websocket: unknown opcode {opcode}")
        if not second & 0x80:
            raise PeerMisbehaved("websocket: a client's frame must be masked")
        if opcode >= Opcode.CLOSE:
            if not final or second & 0x7F > _CONTROL_LIMIT:
                raise PeerMisbehaved("websocket: a control frame is fragmented or too long")
            return
        if (opcode == Opcode.CONTINUATION) is not self._in_message:
            raise PeerMisbehaved("websocket: a frame doesn't fit the message before it")

    def _take_payload(self, frame: _Frame) -> bytes:
        piece = bytes(self._buffer[: frame.left])
        del self._buffer[: len(piece)]
        frame.left -= len(piece)
        plain = _unmask(piece, frame.mask)
        shift = len(piece) % 4
        frame.mask = frame.mask[shift:] + frame.mask[:shift]
        return plain

    def _control(self, frame: _Frame) -> Iterator[WebSocketEvent]:
        if frame.opcode is Opcode.PING:
            yield Ping(frame.payload)
        elif frame.opcode is Opcode.CLOSE:
            self._closed = True
            yield Close(_close_code(frame.payload))


def _close_code(payload: bytes) -> int:
    if not payload:
        return CloseCode.NONE_GIVEN
    if len(payload) == 1:
        raise PeerMisbehaved("websocket: half a close code")
    return int.from_bytes(payload[:2], "big")


def _unmask(data: bytes, mask: bytes) -> bytes:
    """XOR of the whole piece as one number: a hundred times faster than byte by byte."""
    if not data:
        return b""
    key = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(len(data), "big")
