"""The bytes of the channel between host and guest: what a frame looks like, and nothing of what it means.

    frame:    kind u8, stream u32, length u32, payload, MARK           (big endian)
    padding:  a single zero byte where a frame could begin

MARK ends each frame. An end that died in the middle of a frame leaves its peer waiting for the rest; its successor
sends a whole frame's size of zeros first, and the zero in MARK's place tells that this rest isn't data.
A CREDIT has no payload: its `length` is the number of bytes that the receiver may send in addition.
A frame with its header fits in 32 KiB: that is what Linux's virtio console takes in one write(2) (port_fops_write), and
a write is one exit to the hypervisor. Of 8, 16 and 32 KiB the last was the fastest in both directions under TCG.
"""

from __future__ import annotations

import json
from struct import Struct

PADDING = 0
OPEN = 0xC1  #: JSON: the service request
ACCEPT = 0xC2
DATA = 0xC3
CREDIT = 0xC4
EOF = 0xC5  #: nothing more comes; JSON, or empty
RESET = 0xC6  #: the stream is over, or was refused; JSON {"kind", "message", "hint"}, or empty
HELLO = 0xC7  #: session frames, see below
FREEZE = 0xC8
FROZEN = 0xC9

SESSION_KINDS = frozenset((HELLO, FREEZE, FROZEN))
KINDS = SESSION_KINDS | {OPEN, ACCEPT, DATA, CREDIT, EOF, RESET}

HEADER = Struct(">BII")
HEADER_SIZE = HEADER.size
MARK = 0xA5
OVERHEAD = HEADER_SIZE + 1
MAX_FRAME = 32 << 10
MAX_PAYLOAD = MAX_FRAME - OVERHEAD

#: Bytes of one stream that may be on their way in each direction: 8 frames keep the port busy while an answer returns.
WINDOW = 256 << 10

#: Payload of a session frame: MAGIC, the sender's epoch, the epoch that it knows of its peer (0: none).
SESSION = Struct(">16sQQ")
MAGIC = bytes.fromhex("f7686f7374766d2e6368616e6e656cfe")
SESSION_FRAME = OVERHEAD + SESSION.size


def encode_session(kind: int, epoch: int, peer: int) -> bytes:
    """A whole HELLO, FREEZE or FROZEN."""
    return HEADER.pack(kind, 0, SESSION.size) + SESSION.pack(MAGIC, epoch, peer) + bytes((MARK,))


def session_start(kind: int) -> bytes:
    """What each session frame of this kind begins with: the bytes to look for when all else is out of step."""
    return HEADER.pack(kind, 0, SESSION.size) + MAGIC


def encode_json(value: dict[str, object]) -> bytes:
    """b"" for an empty object."""
    return json.dumps(value, separators=(",", ":")).encode() if value else b""


def parse_json(payload: bytes) -> dict[str, object]:
    """The object in a payload, {} for an empty one; ValueError where it isn't a JSON object."""
    if not payload:
        return {}
    try:
        value = json.loads(payload)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value
