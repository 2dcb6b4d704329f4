"""System calls that Python has no function for, on Linux and on macOS: the host side's only ctypes.

What a host hasn't got raises OSError(ENOSYS or EOPNOTSUPP), so that callers can fall back.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

LINUX = sys.platform == "linux"

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
FALLOC_FL_KEEP_SIZE = 1
FALLOC_FL_PUNCH_HOLE = 2

_AT_SYMLINK_NOFOLLOW = 0x100
_AT_EMPTY_PATH = 0x1000
_STATX_BASIC_AND_BTIME = 0xFFF
#: struct statx up to stx_dev_minor (statx(2)).
_STATX = struct.Struct("<IIQIIIHxxQQQQ" + "qIi" * 4 + "IIII")
_STATX_SIZE = 256
_SYS_OPENAT2 = 437
_RESOLVE_NO_SYMLINKS = 4
#: macOS: renameatx_np(2), sys/stdio.h; fcntl(2) F_PUNCHHOLE.
_RENAME_SWAP = 2
_RENAME_EXCL = 4
_F_PUNCHHOLE = 99

_libc = ctypes.CDLL(None, use_errno=True)
_statx = getattr(_libc, "statx", None)
if _statx is not None:
    _statx.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p]
_libc.syscall.restype = ctypes.c_long


class Attributes:
    """What stat(2) tells, and when the file was born: an inode's number is used again, the two together are not."""

    __slots__ = (
        "atime_ns",
        "birth_ns",
        "blksize",
        "blocks",
        "ctime_ns",
        "dev",
        "gid",
        "ino",
        "mode",
        "mtime_ns",
        "nlink",
        "rdev",
        "size",
        "uid",
    )

    def __init__(
        self,
        *,
        dev: int,
        ino: int,
        birth_ns: int,
        mode: int,
        nlink: int,
        uid: int,
        gid: int,
        rdev: int,
        size: int,
        blocks: int,
        blksize: int,
        atime_ns: int,
        mtime_ns: int,
        ctime_ns: int,
    ) -> None:
        self.dev, self.ino, self.birth_ns = dev, ino, birth_ns
        self.mode, self.nlink, self.uid, self.gid, self.rdev = mode, nlink, uid, gid, rdev
        self.size, self.blocks, self.blksize = size, blocks, blksize
        self.atime_ns, self.mtime_ns, self.ctime_ns = atime_ns, mtime_ns, ctime_ns

    @property
    def key(self) -> tuple[int, int, int]:
        """Tells this file from every other that is or was."""
        return (self.dev, self.ino, self.birth_ns)


def stat_at(folder: int, name: bytes) -> Attributes:
    """Of what the folder has under that name, a symbolic link itself included."""
    if _statx is not None:
        return _call_statx(folder, name, _AT_SYMLINK_NOFOLLOW)
    return _from_stat(os.stat(name, dir_fd=folder, follow_symlinks=False))


def stat_fd(descriptor: int) -> Attributes:
    """Of an open file; O_PATH suffices."""
    if _statx is not None:
        return _call_statx(descriptor, b"", _AT_EMPTY_PATH)
    return _from_stat(os.fstat(descriptor))


def _call_statx(folder: int, name: bytes, flags: int) -> Attributes:
    buffer = ctypes.create_string_buffer(_STATX_SIZE)
    assert _statx is not None
    if _statx(folder, name, flags, _STATX_BASIC_AND_BTIME, buffer) != 0:
        _fail("statx")
    (
        _mask, blksize, _attributes, nlink, uid, gid, mode, ino, size, blocks, _attributes_mask,
        atime, atime_ns, _, birth, birth_ns, _, ctime, ctime_ns, _, mtime, mtime_ns, _,
        rdev_major, rdev_minor, dev_major, dev_minor,
    ) = _STATX.unpack_from(buffer)  # fmt: skip
    return Attributes(
        dev=os.makedev(dev_major, dev_minor),
        ino=ino,
        birth_ns=birth * 1_000_000_000 + birth_ns,
        mode=mode,
        nlink=nlink,
        uid=uid,
        gid=gid,
        rdev=os.makedev(rdev_major, rdev_minor),
        size=size,
        blocks=blocks,
        blksize=blksize,
        atime_ns=atime * 1_000_000_000 + atime_ns,
        mtime_ns=mtime * 1_000_000_000 + mtime_ns,
        ctime_ns=ctime * 1_000_000_000 + ctime_ns,
    )


def _from_stat(stat: os.stat_result) -> Attributes:
    return Attributes(
        dev=stat.st_dev,
        ino=stat.st_ino,
        birth_ns=int(getattr(stat, "st_birthtime", 0) * 1_000_000_000),
        mode=stat.st_mode,
        nlink=stat.st_nlink,
        uid=stat.st_uid,
        gid=stat.st_gid,
        rdev=stat.st_rdev,
        size=stat.st_size,
        blocks=stat.st_blocks,
        blksize=stat.st_blksize,
        atime_ns=stat.st_atime_ns,
        mtime_ns=stat.st_mtime_ns,
        ctime_ns=stat.st_ctime_ns,
    )


def open_without_links(folder: int, path: bytes, flags: int) -> int:
    """openat2(2) with RESOLVE_NO_SYMLINKS: ELOOP where any part of the path is a link. ENOSYS before Linux 5.6."""
    if not LINUX:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    how = struct.pack("<QQQ", flags, 0, _RESOLVE_NO_SYMLINKS)
    descriptor = _libc.syscall(
        ctypes.c_long(_SYS_OPENAT2), ctypes.c_int(folder), ctypes.c_char_p(path), how, ctypes.c_size_t(len(how))
    )
    if descriptor < 0:
        _fail("openat2")
    return int(descriptor)


def rename_at(source_folder: int, source: bytes, folder: int, name: bytes, flags: int) -> None:
    """rename(2) with RENAME_NOREPLACE or RENAME_EXCHANGE; EINVAL or ENOSYS where the file system hasn't got it."""
    if LINUX:
        result = _libc.renameat2(source_folder, source, folder, name, ctypes.c_uint(flags))
    else:
        call = getattr(_libc, "renameatx_np", None)
        if call is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        mac_flags = {RENAME_NOREPLACE: _RENAME_EXCL, RENAME_EXCHANGE: _RENAME_SWAP}[flags]
        result = call(source_folder, source, folder, name, ctypes.c_uint(mac_flags))
    if result != 0:
        _fail("rename")


def allocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2). On macOS only holes can be punched."""
    if LINUX:
        result = _libc.fallocate64(
            descriptor, ctypes.c_int(mode), ctypes.c_int64(offset), ctypes.c_int64(length)
        )  # glibc's name for 64 bit offsets everywhere
        if result != 0:
            _fail("fallocate")
    elif mode == FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
        import fcntl

        fcntl.fcntl(descriptor, _F_PUNCHHOLE, struct.pack("IIqq", 0, 0, offset, length))
    else:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


if LINUX:

    def get_xattr(descriptor: int, name: bytes) -> bytes:
        """Of an open file; O_PATH suffices."""
        return os.getxattr(_magic(descriptor), name)

    def get_xattr_at(folder: int, name: bytes, attribute: bytes) -> bytes:
        """Of what the folder has under that name, never of what a symbolic link leads to."""
        return os.getxattr(os.fsencode(_magic(folder)) + b"/" + name, attribute, follow_symlinks=False)

    def set_xattr(descriptor: int, name: bytes, value: bytes, flags: int = 0) -> None:
        os.setxattr(_magic(descriptor), name, value, flags)

    def remove_xattr(descriptor: int, name: bytes) -> None:
        os.removexattr(_magic(descriptor), name)

    def list_xattrs(descriptor: int) -> list[bytes]:
        return [os.fsencode(name) for name in os.listxattr(_magic(descriptor))]

else:
    # macOS: fgetxattr(fd, name, value, size, position, options) and its kin; Linux's flags have other numbers.
    def get_xattr(descriptor: int, name: bytes) -> bytes:
        """Of an open file."""
        size = _checked(_libc.fgetxattr(descriptor, name, None, ctypes.c_size_t(0), 0, 0))
        buffer = ctypes.create_string_buffer(max(size, 1))
        return buffer.raw[: _checked(_libc.fgetxattr(descriptor, name, buffer, ctypes.c_size_t(size), 0, 0))]

    def get_xattr_at(folder: int, name: bytes, attribute: bytes) -> bytes:
        """Of what the folder has under that name."""
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            return get_xattr(descriptor, attribute)
        finally:
            os.close(descriptor)

    def set_xattr(descriptor: int, name: bytes, value: bytes, flags: int = 0) -> None:
        options = {0: 0, 1: 2, 2: 4}[flags]
        _checked(_libc.fsetxattr(descriptor, name, value, ctypes.c_size_t(len(value)), 0, options))

    def remove_xattr(descriptor: int, name: bytes) -> None:
        _checked(_libc.fremovexattr(descriptor, name, 0))

    def list_xattrs(descriptor: int) -> list[bytes]:
        size = _checked(_libc.flistxattr(descriptor, None, ctypes.c_size_t(0), 0))
        buffer = ctypes.create_string_buffer(max(size, 1))
        size = _checked(_libc.flistxattr(descriptor, buffer, ctypes.c_size_t(size), 0))
        return [name for name in buffer.raw[:size].split(b"\0") if name]

    def _checked(result: int) -> int:
        if result < 0:
            _fail("extended attribute")
        return result


def _magic(descriptor: int) -> str:
    """A path that leads to exactly that file, whatever became of its name (proc(5))."""
    return f"/proc/self/fd/{descriptor}"


def _fail(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")
