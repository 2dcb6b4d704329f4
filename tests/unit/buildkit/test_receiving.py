"""A folder's packets, in any order that a sender may choose, against the tar that comes out."""

from __future__ import annotations

import io
import stat
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from guest_agent.buildkit.messages import Packet, PacketType, Stat
from guest_agent.buildkit.receiving import FolderReceiver
from guest_agent.wire.errors import PeerMisbehaved

_FOLDER, _LINK, _SET_UID = 1 << 31 | 0o755, 1 << 27 | 0o777, 1 << 23


class Sender:
    """fsutil's: a list, then the content that is asked for, several files at once."""

    def __init__(self, files: list[tuple[Stat, bytes]], choose: some.DataObject) -> None:
        self.packets = [Packet(PacketType.STAT, stat=one) for one, _ in files] + [Packet(PacketType.STAT)]
        self._content = [content for _, content in files]
        self._open: list[list[Packet]] = []
        self._choose = choose
        self.asked: list[int] = []

    def hear(self, reply: Packet) -> None:
        if reply.type == PacketType.FIN:
            self._open.append([Packet(PacketType.FIN)])
            return
        self.asked.append(reply.id)
        content = self._content[reply.id]
        pieces = [content[start : start + 7] for start in range(0, len(content), 7)]
        packets = [Packet(PacketType.DATA, id=reply.id, data=piece) for piece in pieces]
        self._open.append([*packets, Packet(PacketType.DATA, id=reply.id)])

    def next(self) -> Packet:
        queues = [one for one in [self.packets, *self._open] if one]
        chosen = queues[self._choose.draw(some.integers(0, len(queues) - 1))]
        return chosen.pop(0)


def receive(files: list[tuple[Stat, bytes]], choose: some.DataObject, prefix: str = "") -> tuple[bytes, Sender]:
    receiver, sender, tar = FolderReceiver(prefix), Sender(files, choose), b""
    while not receiver.finished:
        tar += b"".join(receiver.take(sender.next()))
        for reply in receiver.replies:
            sender.hear(reply)
        receiver.replies.clear()
    return tar + bytes(1024), sender


_CONTENTS = some.binary(max_size=40)


@settings(deadline=None)
@given(some.lists(_CONTENTS, max_size=8), some.data())
def test_every_order_gives_the_same_tar(contents: list[bytes], choose: some.DataObject) -> None:
    files = [(Stat(f"file{n}", 0o644, size=len(content)), content) for n, content in enumerate(contents)]
    tar, sender = receive(files, choose, "context/")
    assert len(sender.asked) == len(set(sender.asked))
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == [f"context/file{n}" for n in range(len(contents))]
        for member, content in zip(members, contents, strict=True):
            file = archive.extractfile(member)
            assert file is not None and file.read() == content


@settings(deadline=None, max_examples=20)
@given(some.data())
def test_all_kinds(choose: some.DataObject) -> None:
    files = [
        (Stat("folder", _FOLDER), b""),
        (Stat("folder/tool", _SET_UID | 0o755, size=4, mtime_ns=5_000_000_000), b"tool"),
        (Stat("folder/same", 0o755, size=4, link="folder/tool"), b""),
        (Stat("link", _LINK, link="../else\udcff"), b""),
        (Stat("socket", 1 << 24), b""),
        (Stat("empty", 0o600), b""),
        (Stat("shrunk", 0o600, size=600), b"short"),
        (Stat("grown", 0o600, size=3), b"longer than that"),
    ]
    tar, _ = receive(files, choose, "context/")
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:", errors="surrogateescape") as archive:
        found = {member.name.removeprefix("context/"): member for member in archive}
        assert list(found) == ["folder", "folder/tool", "folder/same", "link", "empty", "shrunk", "grown"]
        assert found["folder"].isdir() and found["folder/tool"].mode == stat.S_ISUID | 0o755
        assert found["folder/tool"].mtime == 5
        assert found["folder/same"].islnk() and found["folder/same"].linkname == "context/folder/tool"
        assert found["link"].linkname == "../else\udcff"
        shrunk, grown = (archive.extractfile(found[name]) for name in ("shrunk", "grown"))
        assert shrunk is not None and shrunk.read() == b"short" + bytes(595)
        assert grown is not None and grown.read() == b"lon"


def test_content_is_not_piled_up() -> None:
    """Of big files only the one whose turn it is is asked for, and what comes of it goes through."""
    receiver = FolderReceiver()
    for number in range(3):
        list(receiver.take(Packet(PacketType.STAT, stat=Stat(f"{number}", 0o644, size=8 << 20))))
    assert [reply.id for reply in receiver.replies] == [0]
    assert sum(map(len, receiver.take(Packet(PacketType.DATA, id=0, data=bytes(1000))))) == 1000


def test_a_big_file_waits_for_its_turn() -> None:
    """Asked for beside a small one that is on its way, all of it would wait in memory."""
    receiver = FolderReceiver()
    sizes = [10, 4 << 20, 10]
    for number, size in enumerate(sizes):
        list(receiver.take(Packet(PacketType.STAT, stat=Stat(f"{number}", 0o644, size=size))))
    assert [reply.id for reply in receiver.replies] == [0]
    list(receiver.take(Packet(PacketType.DATA, id=0, data=bytes(10))))
    list(receiver.take(Packet(PacketType.DATA, id=0)))
    assert [reply.id for reply in receiver.replies] == [0, 1]


@pytest.mark.parametrize(
    "packets",
    [
        [Packet(PacketType.ERR, data=b"denied")],
        [Packet(PacketType.DATA, id=7, data=b"x")],
        [Packet(PacketType.STAT), Packet(PacketType.STAT, stat=Stat("late"))],
        [Packet(PacketType.REQ)],
        [Packet(9)],
        [Packet(PacketType.STAT, stat=Stat("negative", size=-1))],
    ],
)
def test_a_sender_that_breaks_the_rules(packets: list[Packet]) -> None:
    receiver = FolderReceiver()
    with pytest.raises(PeerMisbehaved):
        for packet in packets:
            list(receiver.take(packet))
