"""What the relay does with each frame: sans-IO.

It understands as little of FUSE as it can. It answers what nobody else can or need answer: INIT (a new server takes a
living mount over, and the kernel says INIT only once), and what fails anyway. All the rest waits in `pending` until the
host replies. When another server greets, requests that the old one may have got are sent again where doing them twice
does no harm, and fail with EIO where it might; those that never left the guest are simply sent. While the host is away
everything waits, and after a deadline fails with EIO: nobody hangs for ever.
"""

from __future__ import annotations

import struct

from guest_agent.wire.share_link import (
    MAX_DATA,
    MAX_REQUEST,
    OP_GREET,
    OP_HELD,
    REQUEST_HEADER,
    Greeting,
    Hold,
    HostFrames,
    pack_answer,
    pack_reply,
)

#: Seconds of the guest's clock, which stands still while the machine is suspended.
AWAY_DEADLINE = 30.0

_EIO, _ENOTTY, _ENOSYS, _EOPNOTSUPP = 5, 25, 38, 95

_OP_FORGET, _OP_GETXATTR, _OP_FLUSH, _OP_INIT, _OP_ACCESS, _OP_WRITE = 2, 22, 25, 26, 34, 16
_OP_INTERRUPT, _OP_DESTROY, _OP_IOCTL, _OP_BATCH_FORGET = 36, 38, 39, 42
#: Nobody waits for an answer. An interrupted operation is over soon, and is answered as if it hadn't been.
_UNANSWERED = frozenset({_OP_FORGET, _OP_BATCH_FORGET})
_SWALLOWED = frozenset({_OP_INTERRUPT, _OP_DESTROY})
#: ENOSYS to FLUSH: writes have reached the host when write(2) returns. To ACCESS: the operation itself will tell.
_LOCAL = {_OP_FLUSH: _ENOSYS, _OP_ACCESS: _ENOSYS, _OP_IOCTL: _ENOTTY}
#: LOOKUP GETATTR SETATTR READLINK OPEN READ WRITE STATFS RELEASE FSYNC SETXATTR GETXATTR LISTXATTR OPENDIR READDIR
#: RELEASEDIR FSYNCDIR LSEEK: twice is as good as once (an appending WRITE apart).
_REPEATABLE = frozenset({1, 3, 4, 5, 14, 15, 16, 17, 18, 20, 21, 22, 23, 27, 28, 29, 30, 46})
_O_APPEND = 0o2000
_WRITE_FLAGS_OFFSET = REQUEST_HEADER.size + 32

_INIT_IN = struct.Struct("<IIII")
#: major, minor, readahead, flags, background, congestion, max write, time granularity, max pages, alignment, flags2
_INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
_MAJOR, _MINOR = 7, 38
_ASYNC_READ, _ATOMIC_O_TRUNC, _BIG_WRITES, _AUTO_INVAL_DATA = 1 << 0, 1 << 3, 1 << 5, 1 << 12
_PARALLEL_DIROPS, _MAX_PAGES, _HANDLE_KILLPRIV_V2 = 1 << 18, 1 << 22, 1 << 28
#: No locks: the guest's kernel holds them, among all containers. No writeback cache: it owns sizes and times, and the
#: host must see every write. No READDIRPLUS while names are valid for no time: its look-ups would be asked again.
_FLAGS = (
    _ASYNC_READ | _ATOMIC_O_TRUNC | _BIG_WRITES | _AUTO_INVAL_DATA | _PARALLEL_DIROPS | _MAX_PAGES | _HANDLE_KILLPRIV_V2
)
_PAGE = 4096
_BACKGROUND = 64


class Request:
    """One that the host hasn't answered."""

    __slots__ = ("frame", "op", "sent")

    def __init__(self, frame: bytes, op: int) -> None:
        self.frame = frame
        self.op = op
        self.sent = False

    def is_repeatable(self) -> bool:
        if self.op == _OP_WRITE:
            flags = int.from_bytes(self.frame[_WRITE_FLAGS_OFFSET : _WRITE_FLAGS_OFFSET + 4], "little")
            return not flags & _O_APPEND
        return self.op in _REPEATABLE


class RelayCore:
    """`to_device` holds replies, `to_port` bytes for the host; whoever does the I/O empties both."""

    def __init__(self) -> None:
        self.to_device: list[bytes] = []
        self.to_port = bytearray()
        self.session = b""
        self.greeting: Greeting | None = None  #: the latest; None until a server was there
        self._frames = HostFrames()
        self._pending: dict[int, Request] = {}
        self._talking = False  #: a server has greeted, and didn't ask to hold
        self._away_since: float | None = None
        self._dead = False  #: the deadline has passed

    @property
    def is_away(self) -> bool:
        return self._away_since is not None

    @property
    def pending(self) -> int:
        return len(self._pending)

    def ask_for_greeting(self) -> None:
        """Of a server that may wait for the rest of a request: more than the longest has, so that it finds out."""
        asking = REQUEST_HEADER.pack(REQUEST_HEADER.size, OP_GREET, 0, 0, 0, 0, 0, 0, 0)
        self.to_port += asking * (MAX_REQUEST // len(asking) + 1)

    def from_device(self, frame: bytes) -> None:
        """A request of the kernel's."""
        _length, op, unique, *_ = REQUEST_HEADER.unpack_from(frame)
        if op in _SWALLOWED:
            return
        if op == _OP_INIT:
            self.to_device.append(pack_reply(unique, 0, plan_init(frame)))
        elif op in _LOCAL:
            self._fail(unique, _LOCAL[op])
        elif op == _OP_GETXATTR and not _is_user_attribute(frame):
            self._fail(unique, _EOPNOTSUPP)
        else:
            self._forward(Request(frame, op), unique)

    def _forward(self, request: Request, unique: int) -> None:
        if request.op in _UNANSWERED:
            if self._talking:
                self.to_port += request.frame
            return
        if self._dead:
            self._fail(unique, _EIO)
            return
        self._pending[unique] = request
        if self._talking:
            self._send(request)

    def _send(self, request: Request) -> None:
        request.sent = True
        self.to_port += request.frame

    def _fail(self, unique: int, number: int) -> None:
        self.to_device.append(pack_reply(unique, number, b""))

    def from_port(self, data: bytes | memoryview) -> None:
        """Bytes of the host's."""
        for frame in self._frames.feed(data):
            if isinstance(frame, Greeting):
                self._greeted(frame)
            elif isinstance(frame, Hold):
                self._hold()
            elif self._pending.pop(int.from_bytes(frame[8:16], "little"), None) is not None:
                self.to_device.append(frame)

    def _greeted(self, greeting: Greeting) -> None:
        self.greeting = greeting
        self.session = self.session or greeting.session
        self._away_since = None
        self._dead = False
        self._talking = True
        self.to_port[:] = pack_answer(greeting.epoch, self.session)  # a half-sent frame before it is passed over
        for unique, request in list(self._pending.items()):
            if request.sent and not request.is_repeatable():
                del self._pending[unique]
                self._fail(unique, _EIO)
            else:
                self._send(request)

    def _hold(self) -> None:
        if self._talking:
            self.to_port += REQUEST_HEADER.pack(REQUEST_HEADER.size, OP_HELD, 0, 0, 0, 0, 0, 0, 0)
        self._talking = False

    def host_is_away(self, now: float) -> None:
        """The port has no other end."""
        if self._away_since is None:
            self._away_since = now
            self._talking = False

    def tick(self, now: float) -> None:
        """To be called now and then while the host is away."""
        if self._away_since is None or now - self._away_since < AWAY_DEADLINE:
            return
        self._dead = True
        for unique in self._pending:
            self._fail(unique, _EIO)
        self._pending.clear()


def plan_init(frame: bytes) -> bytes:
    """fuse_init_out for what the kernel offers."""
    major, minor, readahead, flags = _INIT_IN.unpack_from(frame.ljust(REQUEST_HEADER.size + _INIT_IN.size, b"\0"), 40)
    if major != _MAJOR:
        return _INIT_OUT.pack(_MAJOR, _MINOR, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    return _INIT_OUT.pack(
        _MAJOR,
        min(minor, _MINOR),
        min(readahead, MAX_DATA) or MAX_DATA,
        flags & _FLAGS,
        _BACKGROUND,
        _BACKGROUND * 3 // 4,
        MAX_DATA,
        1,
        MAX_DATA // _PAGE,
        0,
        0,
    )


def _is_user_attribute(frame: bytes) -> bool:
    """The name stands behind fuse_getxattr_in."""
    return frame.startswith(b"user.", REQUEST_HEADER.size + 8)
