"""Told by the kernel that a file in a folder has been written (inotify(7)), instead of looking again and again.

To close an instance takes the kernel some 10 ms, since it waits for all readers of its lists: one serves many folders,
for as long as the process lives.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator

#: A file was closed by who wrote it, or put in place by a rename: both are ways to write one in whole.
_IN_CLOSE_WRITE, _IN_MOVED_TO = 0x8, 0x80
#: struct inotify_event: watch, mask, cookie, length of the name that follows.
_EVENT = struct.Struct("iIII")
#: Bytes: some tens of events at once.
_AT_ONCE = 4096

_libc = ctypes.CDLL(None, use_errno=True)
_libc.inotify_add_watch.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]


class Inotify:
    """Readable, for a selector, when there is something to `take`."""

    def __init__(self) -> None:
        """Raises OSError: the kernel allows a user so many instances (128 by default)."""
        self._descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "")

    def fileno(self) -> int:
        return self._descriptor

    def add(self, folder: str) -> int:
        """The watch's number, which isn't used again; the same for the same folder. Raises OSError."""
        mask = _IN_CLOSE_WRITE | _IN_MOVED_TO
        return _checked(_libc.inotify_add_watch(self._descriptor, os.fsencode(folder), mask), folder)

    def remove(self, watch: int) -> None:
        """Of a folder that has gone the kernel has removed it."""
        _libc.inotify_rm_watch(self._descriptor, watch)

    def take(self) -> Iterator[int]:
        """The watches in whose folders a file has been written, and those whose folders have gone."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._descriptor, _AT_ONCE):
                yield from _watches_of(data)


def _watches_of(data: bytes) -> Iterator[int]:
    place = 0
    while place < len(data):
        watch, _mask, _cookie, length = _EVENT.unpack_from(data, place)
        place += _EVENT.size + length
        yield watch


def _checked(result: int, folder: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), folder)
    return result
