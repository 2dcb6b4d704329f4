"""A guest that sends whatever it likes: every request is answered, nothing outside the share is read or changed."""

from __future__ import annotations

import errno
import os
import random
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from guest_agent.wire.share_link import MAX_REPLY, REPLY_HEADER, REQUEST_HEADER
from hostvm.shares import fuse, libc, walking
from hostvm.shares.dispatch import HANDLERS, Later, answer
from hostvm.shares.fuse import ROOT, Op, Validity
from hostvm.shares.handles import HandleTable
from hostvm.shares.journal import Journal
from hostvm.shares.nodes import NodeTable
from hostvm.shares.ownership import choose_owners
from hostvm.shares.rules import plan_rules
from hostvm.shares.state import ShareState
from hostvm.shares.walking import Walker

NAMES = [b"file", b"d", b"out", b"up", b"new", b"..", b".", b"", b"/etc", b"../secret", b"a/b", b"x" * 255, b"x" * 256,
         b"\xff\xfe", b"secret", b"home", b"tmp", b"root"]  # fmt: skip
NUMBERS = [0, 1, 2, 3, 4, 7, 8, 0xFF, 0x1000, 0o100644, 0o40755, 0o20666, 1 << 20, (1 << 32) - 1,
           (1 << 63) - 1, 1 << 63, (1 << 64) - 1]  # fmt: skip
SECRET = b"nobody inside may read this"
LAYOUTS = {
    Op.GETATTR: fuse.GETATTR_IN, Op.SETATTR: fuse.SETATTR_IN, Op.MKNOD: fuse.MKNOD_IN, Op.MKDIR: fuse.MKDIR_IN,
    Op.RENAME: fuse.RENAME_IN, Op.RENAME2: fuse.RENAME2_IN, Op.LINK: fuse.LINK_IN, Op.OPEN: fuse.OPEN_IN,
    Op.CREATE: fuse.CREATE_IN, Op.RELEASE: fuse.RELEASE_IN, Op.READ: fuse.READ_IN, Op.WRITE: fuse.WRITE_IN,
    Op.FSYNC: fuse.FSYNC_IN, Op.SETXATTR: fuse.SETXATTR_IN, Op.GETXATTR: fuse.GETXATTR_IN,
    Op.LISTXATTR: fuse.GETXATTR_IN, Op.FORGET: fuse.FORGET_IN, Op.BATCH_FORGET: fuse.BATCH_FORGET_IN,
    Op.FALLOCATE: fuse.FALLOCATE_IN, Op.LSEEK: fuse.LSEEK_IN, Op.COPY_FILE_RANGE: fuse.COPY_IN,
    Op.OPENDIR: fuse.OPEN_IN, Op.READDIR: fuse.READ_IN, Op.RELEASEDIR: fuse.RELEASE_IN, Op.FSYNCDIR: fuse.FSYNC_IN,
}  # fmt: skip


class Guest:
    """Asks a server's inner part directly, and remembers the ids that it was given."""

    def __init__(self, share: Path) -> None:
        table = NodeTable()
        self.state = ShareState(
            table=table,
            walker=Walker(table, plan_rules([str(share)])),
            handles=HandleTable(50),
            owners=choose_owners(os.geteuid(), os.getegid()),
            journal=Journal(),
            validity=Validity(),
        )
        self.nodes = [ROOT]
        self.handles = [0]
        self._walk(share)

    def ask(self, op: int, node: int, body: bytes) -> tuple[int, bytes]:
        """(error, payload)."""
        frame = REQUEST_HEADER.pack(REQUEST_HEADER.size + len(body), op, 77, node, 0, 0, 1, 0, 0) + body
        reply = answer(self.state, frame)
        if isinstance(reply, Later):
            reply = reply.finish()
        if reply is None:
            assert op in (Op.FORGET, Op.BATCH_FORGET)
            return 0, b""
        length, error, unique = REPLY_HEADER.unpack_from(reply)
        assert length == len(reply) <= MAX_REPLY and unique == 77 and -4096 < error <= 0
        return -error, reply[REPLY_HEADER.size :]

    def _walk(self, share: Path) -> None:
        """Look the share up, and what is in it."""
        for part in share.parts[1:]:
            self._learn(self.nodes[-1], os.fsencode(part))
        for name in (b"file", b"d", b"out", b"up"):
            self._learn(self.nodes[len(share.parts) - 1], name)

    def _learn(self, parent: int, name: bytes) -> None:
        error, entry = self.ask(Op.LOOKUP, parent, name + b"\0")
        assert error == 0
        self.nodes.append(struct.unpack_from("<Q", entry)[0])

    def remember(self, op: int, payload: bytes) -> None:
        if op in (Op.LOOKUP, Op.CREATE, Op.MKDIR, Op.MKNOD, Op.SYMLINK, Op.LINK) and len(payload) >= 8:
            self.nodes.append(struct.unpack_from("<Q", payload)[0])
        if op in (Op.OPEN, Op.OPENDIR, Op.CREATE) and len(payload) >= 16:
            self.handles.append(struct.unpack_from("<Q", payload, len(payload) - 16)[0])


def refuse_openat2(folder: int, path: bytes, flags: int) -> int:
    raise OSError(errno.ENOSYS, "")


@pytest.fixture(params=["linux", "other"])
def guest(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guest]:
    """Also by the ways that a host without statx, openat2 and /proc takes."""
    if request.param == "other":
        monkeypatch.setattr(libc, "_statx", None)
        monkeypatch.setattr(libc, "open_without_links", refuse_openat2)
        monkeypatch.setattr(walking, "LINUX", False)
    share = tmp_path / "home" / "share"
    (share / "d").mkdir(parents=True)
    (share / "file").write_bytes(b"inside")
    (share / "out").symlink_to(tmp_path / "secret")
    (share / "up").symlink_to("../..")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/file").write_bytes(SECRET)
    guest = Guest(share)
    yield guest
    guest.state.handles.clear()
    shutil.rmtree(share, ignore_errors=True)  # fallocate may have made large files


def outside(tmp_path: Path) -> list[tuple[object, ...]]:
    """All that a guest may not touch: names, contents, attributes."""
    places = [tmp_path, tmp_path / "home", tmp_path / "secret", tmp_path / "secret/file"]
    stats = [place.lstat() for place in places]
    story: list[tuple[object, ...]] = [(one.st_mode, one.st_uid, one.st_mtime_ns, one.st_ctime_ns) for one in stats]
    return [*story, tuple(os.listdir(tmp_path)), ((tmp_path / "secret/file").read_bytes(),)]


def random_body(chance: random.Random, op: int, guest: Guest) -> bytes:
    """Mostly well-formed, with fields that mean harm; sometimes cut or plain noise."""
    layout = LAYOUTS.get(Op(op)) if op in HANDLERS else None
    body = b""
    if layout is not None:
        choices = NUMBERS + guest.nodes + guest.handles * 3
        values = []
        for code, width in fields_of(layout):
            values += [chance.choice(choices) & ((1 << width) - 1)] if code else []
        body = layout.pack(*values)
    for _ in range(chance.choice([0, 1, 1, 2])):
        body += chance.choice(NAMES) + b"\0"
    body += chance.choice([b"", b"", b"user.a\0value", chance.randbytes(100)])
    return body[: chance.randrange(len(body) + 1)] if chance.random() < 0.1 else body


def fields_of(layout: struct.Struct) -> list[tuple[str, int]]:
    return [(code, 64 if code == "Q" else 32) for code in layout.format if code in "QI"]


@pytest.mark.parametrize("seed", range(6))
def test_random_requests(guest: Guest, tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(seed)
    before = outside(tmp_path)
    for _ in range(4000):
        op = chance.choice([*HANDLERS, *HANDLERS, chance.randrange(60), 4096])
        node = chance.choice([*guest.nodes[-30:], *guest.nodes[:10], chance.choice(NUMBERS)])
        error, payload = guest.ask(op, node, random_body(chance, op, guest))
        assert SECRET not in payload
        if error == 0:
            guest.remember(op, payload)
    assert outside(tmp_path) == before
    assert caplog.text == "", "an error that nobody thought of"
    assert len(guest.state.handles) <= 50 and len(guest.state.table) < 4000


def test_names_that_lead_elsewhere(guest: Guest) -> None:
    """For every operation that takes a name, in every folder that the guest knows."""
    for name in (b"..", b".", b"", b"a/b", b"/etc", b"../../secret", b"x" * 256):
        for node in guest.nodes:
            for op in (Op.LOOKUP, Op.UNLINK, Op.RMDIR):
                assert guest.ask(op, node, name + b"\0")[0] != 0
            assert guest.ask(Op.MKDIR, node, fuse.MKDIR_IN.pack(0o755, 0) + name + b"\0")[0] != 0
            assert guest.ask(Op.CREATE, node, fuse.CREATE_IN.pack(2, 0o100644, 0, 0) + name + b"\0")[0] != 0
            assert guest.ask(Op.SYMLINK, node, name + b"\0target\0")[0] != 0
            assert guest.ask(Op.RENAME, node, fuse.RENAME_IN.pack(node) + b"file\0" + name + b"\0")[0] != 0
            assert guest.ask(Op.LINK, node, fuse.LINK_IN.pack(guest.nodes[-4]) + name + b"\0")[0] != 0


def test_links_are_never_followed(guest: Guest, tmp_path: Path) -> None:
    """A node that is a link can be read as one, and be nothing else: neither folder nor file."""
    out = guest.nodes[-2]
    assert guest.ask(Op.READLINK, out, b"") == (0, os.fsencode(tmp_path / "secret"))
    for op, body in (
        (Op.LOOKUP, b"file\0"), (Op.OPEN, fuse.OPEN_IN.pack(0, 0)), (Op.OPENDIR, fuse.OPEN_IN.pack(0, 0)),
        (Op.READ, fuse.READ_IN.pack(0, 0, 100, 0, 0, 0, 0)), (Op.UNLINK, b"file\0"),
        (Op.CREATE, fuse.CREATE_IN.pack(2, 0o644, 0, 0) + b"new\0"), (Op.SYMLINK, b"new\0x\0"),
        (Op.SETATTR, fuse.SETATTR_IN.pack(fuse.FATTR_SIZE, *[0] * 15)),
    ):  # fmt: skip
        assert guest.ask(op, out, body)[0] != 0, op
    assert os.listdir(tmp_path / "secret") == ["file"]


def test_a_link_in_place_of_a_known_folder(guest: Guest, tmp_path: Path) -> None:
    share, folder = tmp_path / "home/share", guest.nodes[-3]
    (share / "d").rename(share / "moved")
    (share / "d").symlink_to(tmp_path / "secret")
    assert guest.ask(Op.LOOKUP, folder, b"file\0")[0] != 0
    assert guest.ask(Op.OPENDIR, folder, fuse.OPEN_IN.pack(0, 0))[0] != 0
    assert guest.ask(Op.CREATE, folder, fuse.CREATE_IN.pack(2, 0o644, 0, 0) + b"new\0")[0] != 0
    assert os.listdir(tmp_path / "secret") == ["file"]


def test_a_link_in_place_of_what_leads_to_the_share(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "home").rename(tmp_path / "away")
    (tmp_path / "home").symlink_to(tmp_path / "secret")
    (tmp_path / "secret/share").mkdir()
    for node in guest.nodes[-5:]:
        assert guest.ask(Op.GETATTR, node, fuse.GETATTR_IN.pack(0, 0, 0))[0] != 0
    assert guest.ask(Op.LOOKUP, guest.nodes[-6], b"share\0")[0] != 0


def test_a_handle_of_another_file_is_not_taken(guest: Guest) -> None:
    error, payload = guest.ask(Op.OPEN, guest.nodes[-4], fuse.OPEN_IN.pack(0, 0))
    handle = struct.unpack_from("<Q", payload)[0]
    assert error == 0
    read = fuse.READ_IN.pack(handle, 0, 100, 0, 0, 0, 0)
    assert guest.ask(Op.READ, guest.nodes[-4], read) == (0, b"inside")
    for node in (*guest.nodes[:-4], *guest.nodes[-3:], 12345):
        assert guest.ask(Op.READ, node, read)[0] != 0
