"""FUSE's messages, as far as the server needs them: pure. Structures and numbers are linux/fuse.h's (version 7.38).

The guest isn't trusted: `Body` checks every length before it reads, and raises Refusal(EIO) for what doesn't fit.
"""

from __future__ import annotations

import enum
import stat
import struct
from dataclasses import dataclass

from guest_agent.wire.share_link import REQUEST_HEADER
from hostvm.shares.errnos import EINVAL, EIO, ENAMETOOLONG, Refusal
from hostvm.shares.libc import Attributes

ROOT = 1
NAME_MAX = 255


class Op(enum.IntEnum):
    """enum fuse_opcode: those that reach the server."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    BATCH_FORGET = 42
    FALLOCATE = 43
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47


FATTR_MODE, FATTR_UID, FATTR_GID, FATTR_SIZE = 1 << 0, 1 << 1, 1 << 2, 1 << 3
FATTR_ATIME, FATTR_MTIME, FATTR_FH = 1 << 4, 1 << 5, 1 << 6
FATTR_ATIME_NOW, FATTR_MTIME_NOW, FATTR_KILL_SUIDGID = 1 << 7, 1 << 8, 1 << 11
GETATTR_FH = 1 << 0
WRITE_CACHE, WRITE_KILL_SUIDGID = 1 << 0, 1 << 2
OPEN_KILL_SUIDGID = 1 << 0
FOPEN_KEEP_CACHE = 1 << 1
FSYNC_FDATASYNC = 1 << 0

#: Linux's open flags, the same on x86_64 and arm64 (asm-generic/fcntl.h).
O_ACCMODE, O_EXCL, O_TRUNC, O_APPEND, O_DSYNC, O_SYNC = 3, 0o200, 0o1000, 0o2000, 0o10000, 0o4010000

GETATTR_IN = struct.Struct("<IIQ")
#: valid, padding, fh, size, lock owner, atime, mtime, ctime, their nanoseconds, mode, unused, uid, gid, unused
SETATTR_IN = struct.Struct("<IIQQQQQQIIIIIIII")
MKNOD_IN = struct.Struct("<IIII")
MKDIR_IN = struct.Struct("<II")
RENAME_IN = struct.Struct("<Q")
RENAME2_IN = struct.Struct("<QII")
LINK_IN = struct.Struct("<Q")
OPEN_IN = struct.Struct("<II")
CREATE_IN = struct.Struct("<IIII")
RELEASE_IN = struct.Struct("<QIIQ")
READ_IN = struct.Struct("<QQIIQII")
WRITE_IN = READ_IN
FSYNC_IN = struct.Struct("<QII")
SETXATTR_IN = struct.Struct("<II")
GETXATTR_IN = struct.Struct("<II")
FORGET_IN = struct.Struct("<Q")
BATCH_FORGET_IN = struct.Struct("<II")
FORGET_ONE = struct.Struct("<QQ")
FALLOCATE_IN = struct.Struct("<QQQII")
LSEEK_IN = struct.Struct("<QQII")
COPY_IN = struct.Struct("<QQQQQQQ")

OPEN_OUT = struct.Struct("<QII")
WRITE_OUT = struct.Struct("<II")
LSEEK_OUT = struct.Struct("<Q")
GETXATTR_OUT = struct.Struct("<II")
_STATFS_OUT = struct.Struct("<QQQQQIII24x4x")
_ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
_ATTR_OUT = struct.Struct("<QII")
_ENTRY_OUT = struct.Struct("<QQQQII")
_DIRENT = struct.Struct("<QQII")


@dataclass(frozen=True, slots=True)
class Validity:
    """For how long the guest's kernel may believe a name, and attributes, without asking: nanoseconds.

    Zero is exact: every path component is looked up, every read(2) compares size and mtime first. A directory's
    attributes are believed for the one tick that stands between its LOOKUP and the permission check of the same call.
    """

    entry_ns: int = 0
    attributes_ns: int = 0
    folder_attributes_ns: int = 1


class Request:
    """A request's header, parsed."""

    __slots__ = ("body", "gid", "node", "op", "uid", "unique")

    def __init__(self, frame: bytes) -> None:
        """`frame` holds a header at least, and is as long as the header says."""
        _length, self.op, self.unique, self.node, self.uid, self.gid, _pid, _extensions, _ = REQUEST_HEADER.unpack_from(
            frame
        )
        self.body = Body(frame)


class Body:
    """Reads a request's fields from front to back."""

    __slots__ = ("_frame", "_position")

    def __init__(self, frame: bytes) -> None:
        self._frame = frame
        self._position = REQUEST_HEADER.size

    def fields(self, layout: struct.Struct) -> tuple[int, ...]:
        if len(self._frame) - self._position < layout.size:
            raise Refusal(EIO)
        values = layout.unpack_from(self._frame, self._position)
        self._position += layout.size
        return values

    def text(self) -> bytes:
        """Up to the next zero byte."""
        end = self._frame.find(b"\0", self._position)
        if end < 0:
            raise Refusal(EIO)
        text = self._frame[self._position : end]
        self._position = end + 1
        return text

    def name(self) -> bytes:
        """One component of a path: nothing that could lead anywhere else."""
        name = self.text()
        if len(name) > NAME_MAX:
            raise Refusal(ENAMETOOLONG)
        if b"/" in name or name in (b"", b".", b".."):
            raise Refusal(EINVAL)
        return name

    def data(self, size: int) -> memoryview:
        """The next bytes, not copied."""
        if len(self._frame) - self._position < size:
            raise Refusal(EIO)
        data = memoryview(self._frame)[self._position : self._position + size]
        self._position += size
        return data


def pack_entry(node: int, attributes: Attributes, validity: Validity) -> bytes:
    """struct fuse_entry_out. Node ids are never used again, so that their generation is always 0."""
    entry, attribute = divmod(validity.entry_ns, 10**9), divmod(_attribute_ns(attributes, validity), 10**9)
    return _ENTRY_OUT.pack(node, 0, entry[0], attribute[0], entry[1], attribute[1]) + pack_attr(attributes)


def pack_attr_out(attributes: Attributes, validity: Validity) -> bytes:
    """struct fuse_attr_out."""
    seconds, nanoseconds = divmod(_attribute_ns(attributes, validity), 10**9)
    return _ATTR_OUT.pack(seconds, nanoseconds, 0) + pack_attr(attributes)


def _attribute_ns(attributes: Attributes, validity: Validity) -> int:
    return validity.folder_attributes_ns if stat.S_ISDIR(attributes.mode) else validity.attributes_ns


def pack_attr(attributes: Attributes) -> bytes:
    """struct fuse_attr."""
    atime, mtime, ctime = (_split_time(ns) for ns in (attributes.atime_ns, attributes.mtime_ns, attributes.ctime_ns))
    return _ATTR.pack(
        shown_inode(attributes.dev, attributes.ino),
        attributes.size,
        attributes.blocks,
        atime[0],
        mtime[0],
        ctime[0],
        atime[1],
        mtime[1],
        ctime[1],
        attributes.mode,
        attributes.nlink,
        attributes.uid,
        attributes.gid,
        attributes.rdev & 0xFFFFFFFF,
        attributes.blksize,
        0,
    )


_devices: dict[int, int] = {}


def shown_inode(device: int, inode: int) -> int:
    """All host file systems are one in the guest: equal inode numbers of two must not look like a hard link.

    Those of the first that is seen stay as they are: programs of 32 bits can't read longer ones.
    """
    if device < 0:  # of nobody's file system: an ancestor
        return inode
    ordinal = _devices.setdefault(device, len(_devices))
    return inode ^ (ordinal & 0xFFF) << 51


def _split_time(nanoseconds: int) -> tuple[int, int]:
    """Seconds as the two's complement that the field is in fact."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return seconds & 0xFFFFFFFFFFFFFFFF, rest


def join_time(seconds: int, nanoseconds: int) -> int:
    """The inverse, for what the guest sets. Raises Refusal for a time that no system call would take."""
    if nanoseconds >= 10**9:
        raise Refusal(EINVAL)
    signed = seconds - (1 << 64) if seconds >> 63 else seconds
    return signed * 10**9 + nanoseconds


def pack_dirent(inode: int, offset: int, name: bytes, kind: int) -> bytes:
    """struct fuse_dirent, padded; `kind` is a DT_ constant, `offset` that of the next one."""
    record = _DIRENT.pack(inode, offset, len(name), kind) + name
    return record + bytes(-len(record) % 8)


def pack_statfs(
    *, blocks: int, free: int, available: int, files: int, files_free: int, block_size: int, fragment_size: int
) -> bytes:
    """struct fuse_statfs_out."""
    return _STATFS_OUT.pack(blocks, free, available, files, files_free, block_size, NAME_MAX, fragment_size)
