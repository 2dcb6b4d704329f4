"""A tree -> fsutil's packets: the sender's side of what `receiving` receives. Sans-IO."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from guest_agent.build.trees import ContextTree, Entry
from guest_agent.buildkit.messages import Packet, PacketType, Stat
from guest_agent.buildkit.receiving import GO_SPECIAL, GO_TYPES
from guest_agent.wire.errors import PeerMisbehaved

#: As fsutil's own sender reads.
_PIECE = 32 << 10


class FolderSender:
    """First `listing`, whole; then `answer` each packet of the receiver until `finished`. Blocks for reading."""

    def __init__(self, tree: ContextTree) -> None:
        self._tree = tree
        #: In fsutil's order: folder by folder, names by their bytes.
        self._entries = sorted(tree.paths(), key=lambda one: os.fsencode(one[0]).split(b"/"))
        self.finished = False

    def listing(self) -> Iterator[Packet]:
        """A file that was listed already by another name is a hard link."""
        listed: dict[int, str] = {}
        for path, entry in self._entries:
            first = listed.setdefault(id(entry), path) if entry.is_file else path
            yield Packet(PacketType.STAT, _describe(path, entry, entry.link if first == path else first))
        yield Packet(PacketType.STAT)

    def answer(self, packet: Packet) -> Iterator[Packet]:
        """Raises PeerMisbehaved."""
        if packet.type == PacketType.REQ:
            yield from self._content(packet.id)
        elif packet.type == PacketType.FIN:
            self.finished = True
            yield Packet(PacketType.FIN)
        elif packet.type == PacketType.ERR:
            raise PeerMisbehaved(f"error from receiver: {packet.data.decode(errors='replace')}")
        else:
            raise PeerMisbehaved(f"a packet of the type {packet.type} has no meaning here")

    def _content(self, number: int) -> Iterator[Packet]:
        if not 0 <= number < len(self._entries) or not self._entries[number][1].is_file:
            raise PeerMisbehaved(f"invalid file id {number}")
        for piece in self._tree.pieces(self._entries[number][1], _PIECE):
            yield Packet(PacketType.DATA, id=number, data=piece)
        yield Packet(PacketType.DATA, id=number)


def _describe(path: str, entry: Entry, link: str) -> Stat:
    mode = stat.S_IMODE(entry.mode) & 0o777 | GO_TYPES.get(stat.S_IFMT(entry.mode), 0)
    mode |= sum(go for go, bits in GO_SPECIAL if entry.mode & bits)
    return Stat(
        path,
        mode,
        entry.uid,
        entry.gid,
        entry.size,
        entry.mtime_ns,
        link,
        os.major(entry.device),
        os.minor(entry.device),
    )
