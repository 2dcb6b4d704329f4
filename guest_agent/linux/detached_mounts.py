"""Mounts that are taken first and placed later: open_tree(2), mount_setattr(2), move_mount(2).

What a path leads to is thus decided before a process enters a root that it doesn't trust, and the place where it goes
is looked up inside that root: neither of the two lookups can be led astray by what is in the other.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from guest_agent.linux.mounts import MS_PRIVATE

_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_MOUNT_SETATTR = 442
_OPEN_TREE_CLONE = 1
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_RDONLY = 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def take_tree(source: str, read_only: bool) -> int:
    """A descriptor of a private copy of the mounts at `source` and below. Needs CAP_SYS_ADMIN."""
    flags = ctypes.c_uint(_OPEN_TREE_CLONE | _AT_RECURSIVE | os.O_CLOEXEC)
    path = ctypes.c_char_p(os.fsencode(source))
    tree = _call(_SYS_OPEN_TREE, source, ctypes.c_int(_AT_FDCWD), path, flags)
    try:
        _set_attributes(tree, source, read_only)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _set_attributes(tree: int, source: str, read_only: bool) -> None:
    """Linux 5.12; on an older kernel whoever enters the tree must mind by himself that it is read-only."""
    attributes = struct.pack("QQQQ", _MOUNT_ATTR_RDONLY if read_only else 0, 0, MS_PRIVATE, 0)
    flags = ctypes.c_uint(_AT_EMPTY_PATH | _AT_RECURSIVE)
    try:
        _call(_SYS_MOUNT_SETATTR, source, tree, ctypes.c_char_p(b""), flags, attributes, ctypes.c_size_t(32))
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise


def place_tree(tree: int, target: str) -> None:
    """Mount it at `target`; the descriptor is closed."""
    try:
        _call(
            _SYS_MOVE_MOUNT,
            target,
            tree,
            ctypes.c_char_p(b""),
            ctypes.c_int(_AT_FDCWD),
            ctypes.c_char_p(os.fsencode(target)),
            ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
        )
    finally:
        os.close(tree)


def _call(number: int, path: str, *arguments: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), path)
    return result
