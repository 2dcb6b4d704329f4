"""The data disk: made ready on a blank one, grown when the host has grown it, mounted.

A disk that holds something else is never formatted: what can't be read stays as it is, and the host hears of it.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time

from guest_agent.linux import mounts
from guest_agent.wire.errors import DataDamaged, HostFailed

#: First virtio block device.
DEVICE = "/dev/vda"

_BLKGETSIZE64 = 0x80081272
#: Where ext4 keeps its superblock, and in that its magic number (kernel: Documentation/filesystems/ext4/super.rst).
_SUPERBLOCK, _MAGIC_AT, _MAGIC = 1024, 56, 0xEF53
#: Seconds for the kernel to take note of a resized device: it takes milliseconds.
_SIZE_PATIENCE = 2.0
#: As much as any file system or partition table would have written something into.
_BLANK_PROBE = 1 << 20
#: An inode for each 8 KiB: images are many small files.
_MKE2FS = ["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-i", "8192", "-m", "0", "-L", "hostvm"]
_LAZY = ["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"]


def open_data_disk(device: str, target: str, size: int = 0) -> str:
    """Mounts the disk; answers "" or what had to be done to it. Raises DataDamaged, HostFailed.

    `size` is what the host says that it has: after a template's resume the kernel may still be about to hear of it.
    """
    done = ""
    wait_for_size(device, size)
    if not os.path.exists(device):
        raise HostFailed("the machine has no data disk", "`hostvm machine restart --shutdown` attaches it again")
    if is_blank(device):
        _run([*_MKE2FS, *_LAZY, device], "the data disk can't be formatted")
        done = "formatted"
    elif not have_ext4(device):
        raise DataDamaged(
            "the machine's data disk holds no file system that hostvm made",
            "it was left as it is: put the right disk back, or `hostvm machine reset` for an empty one",
        )
    os.makedirs(target, exist_ok=True)
    _mount(device, target)
    os.chmod(target, 0o710)  # as the engine's folder is natively
    if have_grown(device):
        _run(["/usr/sbin/resize2fs", device], "the data disk's file system can't be grown")
        done = done or "grown"
    return done


def wait_for_size(device: str, size: int) -> None:
    """Until the device is at least that large, or `_SIZE_PATIENCE` is over: the file system grows at the next start."""
    deadline = time.monotonic() + _SIZE_PATIENCE
    while size and os.path.exists(device) and device_size(device) < size and time.monotonic() < deadline:
        time.sleep(0.01)


def close_data_disk(target: str) -> None:
    """Writes out and unmounts. Containers' file systems below it must be gone, or are let go lazily."""
    os.sync()
    try:
        mounts.umount(target, detach=False)
    except OSError:
        mounts.umount_if_mounted(target)
        os.sync()


def is_blank(device: str) -> bool:
    """Nothing but zeros where a file system or a partition table would be."""
    return not any(_read(device, 0, _BLANK_PROBE))


def have_ext4(device: str) -> bool:
    return int.from_bytes(_read(device, _SUPERBLOCK + _MAGIC_AT, 2), "little") == _MAGIC


def have_grown(device: str) -> bool:
    """Is the device larger than the file system on it, by more than what a rounding leaves?"""
    head = _read(device, _SUPERBLOCK, 1024)
    # s_blocks_count_lo, s_log_block_size, s_blocks_count_hi
    low, log_size, high = (int.from_bytes(head[at : at + 4], "little") for at in (4, 24, 336))
    return device_size(device) - ((high << 32 | low) << (10 + log_size)) >= 128 << 20


def device_size(device: str) -> int:
    """Bytes."""
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        (size,) = struct.unpack("Q", fcntl.ioctl(descriptor, _BLKGETSIZE64, bytes(8)))
        return int(size)
    finally:
        os.close(descriptor)


def _mount(device: str, target: str) -> None:
    """The journal is replayed by the mount itself; only a file system that knows of errors is looked through first."""
    try:
        mounts.mount(device, target, "ext4", 0, "discard")
    except OSError:
        _run(["/usr/sbin/e2fsck", "-p", device], "the machine's data disk is damaged", most=1)
        mounts.mount(device, target, "ext4", 0, "discard")


def _run(argv: list[str], failure: str, most: int = 0) -> None:
    """Raises DataDamaged where the program's exit code is above `most` (e2fsck: 1 = errors were corrected)."""
    status = os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn(argv[0], argv, os.environ), 0)[1])
    if not 0 <= status <= most:
        hint = "`hostvm machine logs` shows what it said; nothing was deleted"
        raise DataDamaged(f"{failure} ({os.path.basename(argv[0])} ended with {status})", hint)


def _read(device: str, offset: int, size: int) -> bytes:
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)
