"""Frames of the single exchange by which our own client runs, executes and attaches.

The request is HTTP with `Upgrade: hostvm-session`; after the 101 both directions carry frames with the header that
Docker's attach stream has (Docker Engine API, "Stream format"): one byte kind, three zero bytes, length as big-endian
u32. Kinds 0 to 2 are Docker's own; the others are ours. JSON payloads are UTF-8.

Sans-IO: bytes in, frames out. On the command line's hot path, so only `struct` is imported.
"""

from struct import Struct

STDIN = 0  #: client -> engine: bytes for the container's standard input
STDOUT = 1  #: engine -> client: bytes
STDERR = 2  #: engine -> client: bytes
PROGRESS = 4  #: engine -> client: one object of Docker's progress JSON (a pull)
CREATED = 5  #: engine -> client: {"Id": str, "Warnings": [str]}
STARTED = 6  #: engine -> client: {"Id": str}
EXIT = 7  #: engine -> client: {"StatusCode": int}; the last frame
ERROR = 8  #: engine -> client: {"kind": str, "message": str, "hint": str}; the last frame
DETACHED = 9  #: engine -> client: empty; the detach keys were typed; the last frame
STDIN_EOF = 16  #: client -> engine: empty; the client's standard input ended
RESIZE = 17  #: client -> engine: {"h": rows, "w": columns}
SIGNAL = 18  #: client -> engine: {"signal": "TERM"}

#: A peer that announces more is broken or hostile: the biggest sender is a 1 MiB read of a log.
MAX_PAYLOAD = 4 << 20

_HEADER = Struct(">BxxxI")
HEADER_SIZE = _HEADER.size


class FrameTooLarge(ValueError):
    """The peer announced a payload above MAX_PAYLOAD; the stream can't be used any further."""


def encode_header(kind: int, length: int) -> bytes:
    """The 8 bytes before a payload of `length` bytes."""
    return _HEADER.pack(kind, length)


def encode(kind: int, payload: bytes = b"") -> bytes:
    """One whole frame."""
    return _HEADER.pack(kind, len(payload)) + payload


class FrameDecoder:
    """Cuts a stream, in whatever chunks it comes, into (kind, payload) pairs."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames that `data` completes, in order.

        Raises FrameTooLarge at a header above the limit.
        """
        buffer = self._buffer
        buffer += data
        frames = []
        start = 0
        while len(buffer) - start >= HEADER_SIZE:
            kind, length = _HEADER.unpack_from(buffer, start)
            if length > MAX_PAYLOAD:
                raise FrameTooLarge(f"frame of {length} bytes, at most {MAX_PAYLOAD} are allowed")
            end = start + HEADER_SIZE + length
            if len(buffer) < end:
                break
            frames.append((kind, bytes(buffer[start + HEADER_SIZE : end])))
            start = end
        del buffer[:start]
        return frames

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished frame are held; 0 at a frame's border."""
        return len(self._buffer)
