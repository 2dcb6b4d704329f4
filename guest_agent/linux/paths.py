"""Opening a path inside a root that isn't trusted: openat2(2) with RESOLVE_IN_ROOT.

Absolute names, `..` and symbolic links are all resolved as if the root were /, by the kernel, without a race.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct

_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def open_in_root(root: str, path: str, flags: int = os.O_RDONLY, mode: int = 0) -> int:
    """A descriptor of `path` below `root`. OSError as from open(2)."""
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
        number = ctypes.c_long(_SYS_OPENAT2)
        result = int(_libc.syscall(number, directory, ctypes.c_char_p(os.fsencode(path)), how, ctypes.c_size_t(24)))
    finally:
        os.close(directory)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), path)
    return result


def make_folders(root: str, path: str) -> None:
    """A folder `path` below `root` and those on the way to it; nothing where something else is in its place."""
    names = [name for name in os.path.normpath(path).split("/") if name]
    for count, name in enumerate(names):
        with contextlib.suppress(OSError):
            parent = open_in_root(root, "/".join(names[:count]) or "/", os.O_PATH | os.O_DIRECTORY)
            try:
                os.mkdir(name, 0o755, dir_fd=parent)
            finally:
                os.close(parent)


def read_in_root(root: str, path: str, limit: int = 1 << 20) -> bytes:
    """At most `limit` bytes of a regular file below `root`; anything else there (a FIFO, a device) is an OSError."""
    descriptor = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        if not os.path.isfile(f"/proc/self/fd/{descriptor}"):
            raise OSError(22, "not a regular file", path)
        return file.read(limit)
