"""Copies of large files with holes: shared blocks where the file system can, else only what isn't a hole."""

from __future__ import annotations

import errno
import fcntl
import os
import sys

#: ioctl_ficlone(2): both files then share their blocks (btrfs, XFS, bcachefs).
_FICLONE = 0x40049409
_CHUNK = 1 << 30
#: Copied at once by hand.
_PIECE = 1 << 20


def copy_sparse(source: str, target: str) -> None:
    """`target` is made anew, with the size and the holes of `source`. Raises OSError; then there is no `target`."""
    if sys.platform == "darwin" and _clone_on_mac(source, target):
        return
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            if not _clone(reading, writing):
                _copy_segments(reading, writing)
        except OSError:
            os.unlink(target)
            raise
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def make_blank(path: str, size: int) -> None:
    """A file that is one hole."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


def _clone_on_mac(source: str, target: str) -> bool:
    """clonefile(2), by the one program that has it."""
    import subprocess

    done = subprocess.run(["/bin/cp", "-c", source, target], stdin=subprocess.DEVNULL, capture_output=True)
    return done.returncode == 0


def _clone(reading: int, writing: int) -> bool:
    try:
        fcntl.ioctl(writing, _FICLONE, reading)
    except OSError:
        return False
    return True


def _copy_segments(reading: int, writing: int) -> None:
    size = os.fstat(reading).st_size
    os.ftruncate(writing, size)
    end = 0
    while end < size:
        start = _seek_data(reading, end)
        if start is None:
            return
        end = os.lseek(reading, start, os.SEEK_HOLE)
        _copy_range(reading, writing, start, end)


def _seek_data(descriptor: int, offset: int) -> int | None:
    """Where the next data are; None behind the last."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise


def _copy_range(reading: int, writing: int, start: int, end: int) -> None:
    while start < end:
        done = _copy_some(reading, writing, start, min(end - start, _CHUNK))
        if not done:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        start += done


def _copy_some(reading: int, writing: int, start: int, length: int) -> int:
    """In the kernel where it can: a Mac's can't, and none can from one kind of file system to another."""
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(reading, writing, length, start, start)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
    return os.pwrite(writing, os.pread(reading, min(length, _PIECE), start), start)
