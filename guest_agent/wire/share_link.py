"""What passes over the share's port: FUSE frames, and how two ends that may die at any byte get in step again.

Guest to host are raw FUSE requests; they begin with their own length. Host to guest each frame begins with its kind:

    PADDING                         one zero byte
    REPLY     FUSE reply            begins with its own length; ends with the epoch's first 4 bytes
    GREETING  epoch session flags   ends likewise
    HOLD                            asks the relay to send nothing more

A server that connects sends as much padding as the longest frame has bytes, then a greeting with a random epoch. A
relay that was left in the middle of a frame takes padding for its rest, sees that its end isn't the epoch, and drops
it. It answers with the epoch itself: the server passes over everything before those 16 bytes, which nobody could have
known.

The session names the life of the mount: node ids of one session are never taken for those of another. The relay takes
over the session that the first greeting proposes and tells it in every answer. This module imports next to nothing: it
is on the guest's way up.
"""

from __future__ import annotations

import struct

PADDING = 0
REPLY = 1
GREETING = 2
HOLD = 3

#: The most data of one READ or WRITE. A port hands over 4 KiB at a time, so that a bigger piece gains nothing, and
#: keeps everyone else waiting for longer.
MAX_DATA = 256 * 1024
#: With FUSE's headers; a SETXATTR (64 KiB value and name) and two names of a RENAME fit as well.
MAX_REQUEST = MAX_DATA + 4096
MAX_REPLY = MAX_DATA + 4096

EPOCH_SIZE = 16
SESSION_SIZE = 8
MARK_SIZE = 4  #: of the epoch, at a frame's end

#: The guest's kernel checks owners and modes: right where the server is root and must not lend that to everyone.
FLAG_CHECK_PERMISSIONS = 1

#: Request: length, opcode, unique, node, uid, gid, pid, length of extensions, padding (linux/fuse.h).
REQUEST_HEADER = struct.Struct("<IIQQIIIHH")
#: Reply: length, error (negative), unique.
REPLY_HEADER = struct.Struct("<IiQ")
#: The relay's answer to HOLD, in the shape of a request: everything that it ever sent stands before it.
OP_HELD = 0x7FFFFFFF
#: A relay that follows one that died asks to be greeted: to the server nothing has happened.
OP_GREET = 0x7FFFFFFE

_GREETING = struct.Struct(f"<{EPOCH_SIZE}s{SESSION_SIZE}sB{MARK_SIZE}s")


def pack_greeting(epoch: bytes, session: bytes, flags: int) -> bytes:
    """With the padding that must come before it."""
    padding = bytes(MAX_REPLY + MARK_SIZE + 1)
    return padding + bytes([GREETING]) + _GREETING.pack(epoch, session, flags, epoch[:MARK_SIZE])


def pack_reply(unique: int, error: int, payload: bytes) -> bytes:
    """A FUSE reply as the device takes it; `error` is the positive Linux number, 0 for success."""
    return REPLY_HEADER.pack(REPLY_HEADER.size + len(payload), -error, unique) + payload


def wrap_reply(reply: bytes, epoch: bytes) -> bytes:
    """The reply as a frame of the port."""
    return b"%c%b%b" % (REPLY, reply, epoch[:MARK_SIZE])


def pack_answer(epoch: bytes, session: bytes) -> bytes:
    """The relay's answer to a greeting."""
    return epoch + session


class Greeting:
    """A server has connected."""

    __slots__ = ("epoch", "flags", "session")

    def __init__(self, epoch: bytes, session: bytes, flags: int) -> None:
        self.epoch = epoch
        self.session = session
        self.flags = flags


class Hold:
    """The server wants to hear no more."""

    __slots__ = ()


class HostFrames:
    """The relay's reader: bytes in, replies, greetings and holds out. Nothing that arrives makes it fail."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._mark = b""

    def feed(self, data: bytes | memoryview) -> list[bytes | Greeting | Hold]:
        """What is complete by now; a reply is the FUSE frame for the device."""
        self._buffer += data
        frames: list[bytes | Greeting | Hold] = []
        position = 0
        while (step := self._parse(position, frames)) > 0:
            position += step
        del self._buffer[:position]
        return frames

    def _parse(self, position: int, frames: list[bytes | Greeting | Hold]) -> int:
        """The size of what begins at `position`, 0 where more is needed."""
        if position >= len(self._buffer):
            return 0
        kind = self._buffer[position]
        if kind == REPLY:
            return self._parse_reply(position, frames)
        if kind == GREETING:
            return self._parse_greeting(position, frames)
        if kind == HOLD:
            frames.append(Hold())
            return 1
        return self._skip_padding(position) if kind == PADDING else 1

    def _skip_padding(self, position: int) -> int:
        """All of it at once: a greeting brings 260 KiB."""
        rest = bytes(memoryview(self._buffer)[position:])
        return len(rest) - len(rest.lstrip(b"\0"))

    def _parse_reply(self, position: int, frames: list[bytes | Greeting | Hold]) -> int:
        start = position + 1
        if len(self._buffer) - start < 4:
            return 0
        length = int.from_bytes(self._buffer[start : start + 4], "little")
        if not REPLY_HEADER.size <= length <= MAX_REPLY:
            return 1
        end = start + length
        if len(self._buffer) < end + MARK_SIZE:
            return 0
        if self._mark and self._buffer[end : end + MARK_SIZE] == self._mark:
            frames.append(bytes(memoryview(self._buffer)[start:end]))
        return 1 + length + MARK_SIZE

    def _parse_greeting(self, position: int, frames: list[bytes | Greeting | Hold]) -> int:
        start = position + 1
        if len(self._buffer) - start < _GREETING.size:
            return 0
        epoch, session, flags, mark = _GREETING.unpack_from(self._buffer, start)
        if mark == epoch[:MARK_SIZE] and any(mark):
            self._mark = mark
            frames.append(Greeting(epoch, session, flags))
        return 1 + _GREETING.size


class GuestFrames:
    """The server's reader: bytes in, the session and then requests out. Raises ValueError where the guest is mad."""

    def __init__(self, epoch: bytes) -> None:
        self._epoch = epoch
        self._buffer = bytearray()
        self.session = b""  #: known once the relay has answered

    def feed(self, data: bytes) -> list[bytes]:
        """Whole requests, headers included. Keeps at most one request's worth of bytes."""
        self._buffer += data
        if not self.session and not self._find_answer():
            return []
        requests: list[bytes] = []
        position = 0
        while len(self._buffer) - position >= 4:
            length = int.from_bytes(self._buffer[position : position + 4], "little")
            if not REQUEST_HEADER.size <= length <= MAX_REQUEST:
                raise ValueError(f"a request of {length} bytes")
            if len(self._buffer) - position < length:
                break
            requests.append(bytes(memoryview(self._buffer)[position : position + length]))
            position += length
        del self._buffer[:position]
        return requests

    def _find_answer(self) -> bool:
        place = self._buffer.find(self._epoch)
        if place < 0:
            del self._buffer[: -(EPOCH_SIZE - 1)]
            return False
        end = place + EPOCH_SIZE + SESSION_SIZE
        if len(self._buffer) < end:
            del self._buffer[:place]
            return False
        self.session = bytes(self._buffer[place + EPOCH_SIZE : end])
        del self._buffer[:end]
        return True
