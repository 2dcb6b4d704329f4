"""A folder of the client's, as fsutil sends it -> the entries of a tar. Sans-IO, pure.

Theory of operation. The sender lists its files (STAT, in order), and sends the content of those that are asked for by
their place in the list (REQ, then DATA with that id), several at the same time and so mixed. A tar is one after the
other: entries wait in the list's order, the first one's content goes right through, that of the following ones, asked
for ahead so that no file costs a round trip, waits in memory, at most `_AHEAD` bytes of it. A file has as many bytes as
its STAT said: one that grows or shrinks meanwhile is cut off, or filled up with zeros.
"""

from __future__ import annotations

import stat
import tarfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from guest_agent.buildkit.messages import Packet, PacketType, Stat
from guest_agent.wire.errors import PeerMisbehaved

#: Content that is asked for ahead of its turn: bytes, and files. (A sender works on four files at once.)
_AHEAD, _MOST_AHEAD = 4 << 20, 128
#: Go's os.FileMode: types and special bits.
_DIRECTORY, _SYMLINK, _DEVICE, _PIPE, _SOCKET = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 24
_SET_UID, _SET_GID, _CHAR_DEVICE, _STICKY, _IRREGULAR = 1 << 23, 1 << 22, 1 << 21, 1 << 20, 1 << 19
_TYPES = _DIRECTORY | _SYMLINK | _DEVICE | _PIPE | _SOCKET | _CHAR_DEVICE | _IRREGULAR
#: Their counterparts in Unix's modes.
GO_TYPES = {
    stat.S_IFDIR: _DIRECTORY,
    stat.S_IFLNK: _SYMLINK,
    stat.S_IFIFO: _PIPE,
    stat.S_IFSOCK: _SOCKET,
    stat.S_IFBLK: _DEVICE,
    stat.S_IFCHR: _DEVICE | _CHAR_DEVICE,
}
GO_SPECIAL = ((_SET_UID, 0o4000), (_SET_GID, 0o2000), (_STICKY, 0o1000))
_NANOSECONDS = 1_000_000_000


@dataclass(slots=True)
class _Entry:
    id: int
    stat: Stat
    done: bool = False
    left: int = 0  #: bytes of its content that the tar still needs
    waiting: bytearray = field(default_factory=bytearray)

    @property
    def has_content(self) -> bool:
        return not self.stat.mode & _TYPES and not self.stat.link and self.stat.size > 0


class FolderReceiver:
    """`take` each packet; `replies` are to be sent then. The tar's entries are below `prefix`, and have no end."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._listed = 0
        self._complete = False
        self._entries: deque[_Entry] = deque()
        self._unasked: deque[_Entry] = deque()
        self._asked: dict[int, _Entry] = {}
        self._ahead = 0
        self._head_written = self._said_end = False
        self.replies: list[Packet] = []
        self.finished = False

    def take(self, packet: Packet) -> Iterator[bytes]:
        """Pieces of the tar. Raises PeerMisbehaved."""
        if packet.type == PacketType.STAT:
            self._list(packet.stat)
        elif packet.type == PacketType.DATA:
            self._fill(packet)
        elif packet.type == PacketType.FIN:
            self.finished = True
        elif packet.type == PacketType.ERR:
            raise PeerMisbehaved(f"error from sender: {packet.data.decode(errors='replace')}")
        else:
            raise PeerMisbehaved(f"a packet of the type {packet.type} has no meaning here")
        yield from self._write()
        self._ask()

    def _list(self, found: Stat | None) -> None:
        if self._complete:
            raise PeerMisbehaved("the list of files goes on behind its end")
        if found is None:
            self._complete = True
            return
        if found.size < 0:
            raise PeerMisbehaved(f"the size of {found.path} is negative")
        entry = _Entry(self._listed, found, left=found.size)
        self._listed += 1
        if not found.mode & (_SOCKET | _IRREGULAR):
            self._entries.append(entry)
        if entry.has_content:
            self._unasked.append(entry)

    def _fill(self, packet: Packet) -> None:
        entry = self._asked.get(packet.id)
        if entry is None:
            raise PeerMisbehaved(f"content of the file {packet.id}, which wasn't asked for")
        if packet.data:
            room = entry.left - len(entry.waiting)
            entry.waiting += packet.data[: max(room, 0)]
        else:
            entry.done = True
            del self._asked[packet.id]

    def _write(self) -> Iterator[bytes]:
        """What is in its turn."""
        while self._entries:
            entry = self._entries[0]
            if not self._head_written:
                self._head_written = True
                yield _header(self._prefix, entry)
            if entry.has_content:
                yield from self._write_content(entry)
                if not entry.done:
                    return
            self._entries.popleft()
            self._head_written = False
        if self._complete and not self._said_end:
            self._said_end = True
            self.replies.append(Packet(PacketType.FIN))

    def _write_content(self, entry: _Entry) -> Iterator[bytes]:
        if entry.waiting:
            entry.left -= len(entry.waiting)
            yield bytes(entry.waiting)
            entry.waiting.clear()
        if entry.done:
            yield from _zeros(entry.left + -entry.stat.size % tarfile.BLOCKSIZE)
            self._ahead -= entry.stat.size

    def _ask(self) -> None:
        """What fits; a file that is bigger than that goes alone, since it is in its turn then and doesn't wait."""
        while self._unasked and len(self._asked) < _MOST_AHEAD:
            if self._asked and self._ahead + self._unasked[0].stat.size > _AHEAD:
                return
            entry = self._unasked.popleft()
            self._ahead += entry.stat.size
            self._asked[entry.id] = entry
            self.replies.append(Packet(PacketType.REQ, id=entry.id))


def _header(prefix: str, entry: _Entry) -> bytes:
    described = entry.stat
    info = tarfile.TarInfo(f"{prefix}{described.path.lstrip('/')}")
    info.type = _tar_type(described)
    info.mode = described.mode & 0o777 | sum(bits for go, bits in GO_SPECIAL if described.mode & go)
    info.uid, info.gid = described.uid, described.gid
    info.mtime = max(described.mtime_ns // _NANOSECONDS, 0)
    info.size = described.size if entry.has_content else 0
    info.devmajor, info.devminor = described.device_major, described.device_minor
    info.linkname = described.link
    if info.type == tarfile.LNKTYPE:
        info.linkname = f"{prefix}{described.link.lstrip('/')}"
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _tar_type(described: Stat) -> bytes:
    if described.mode & _DIRECTORY:
        return tarfile.DIRTYPE
    if described.mode & _SYMLINK:
        return tarfile.SYMTYPE
    if described.mode & _DEVICE:
        return tarfile.CHRTYPE if described.mode & _CHAR_DEVICE else tarfile.BLKTYPE
    if described.mode & _PIPE:
        return tarfile.FIFOTYPE
    return tarfile.LNKTYPE if described.link else tarfile.REGTYPE


def _zeros(size: int) -> Iterator[bytes]:
    while size > 0:
        yield bytes(min(size, 64 << 10))
        size -= 64 << 10
