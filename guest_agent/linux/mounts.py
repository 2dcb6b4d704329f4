"""Mounts: mount(2), umount2(2), overlayfs stacks. Every failure is an OSError that names the target.

mount(2) takes a single page of options. A stack of layers whose names don't fit is mounted layer by layer through
fsopen(2) with `lowerdir+` (Linux 6.8, Documentation/filesystems/overlayfs.rst), so the number of layers is limited by
overlayfs itself (500) and not by the length of their names.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
from collections.abc import Sequence

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8
CLONE_NEWNS = 0x20000

#: mount(2) copies at most one page, with the terminating zero.
OPTIONS_LIMIT = 4095

_SYS_MOVE_MOUNT = 429
_SYS_FSOPEN = 430
_SYS_FSCONFIG = 431
_SYS_FSMOUNT = 432
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
_MOVE_MOUNT_F_EMPTY_PATH = 4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
_libc.unshare.argtypes = [ctypes.c_int]
_libc.syscall.restype = ctypes.c_long


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2), its arguments in words; `kind` is the file system's type."""
    result = _libc.mount(os.fsencode(source), os.fsencode(target), kind.encode(), flags, os.fsencode(options))
    _check(result, f"mount {kind or source} on {target}")


def bind(source: str, target: str, *, recursive: bool = False, read_only: bool = False) -> None:
    """Show `source` at `target` too; read-only needs a second call, on kernels as of 2026 as ever."""
    mount(source, target, flags=MS_BIND | (MS_REC if recursive else 0))
    if read_only:
        mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def set_propagation(target: str, flags: int) -> None:
    """`flags` is one of MS_PRIVATE, MS_SLAVE, MS_SHARED, possibly with MS_REC."""
    mount("", target, flags=flags)


def umount(target: str, *, detach: bool = True) -> None:
    """Take the uppermost mount away; symbolic links are never followed."""
    flags = UMOUNT_NOFOLLOW | (MNT_DETACH if detach else 0)
    _check(_libc.umount2(os.fsencode(target), flags), f"unmount {target}")


def umount_if_mounted(target: str) -> bool:
    """True where something was there to unmount. Idempotent: for undo stacks and start-up."""
    try:
        umount(target)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return False
        raise
    return True


def mounts_below(folder: str) -> list[str]:
    """Mount points inside a folder, the latest first: the order in which they can be taken away."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return parse_mounts_below(file.read(), os.path.realpath(folder))


def parse_mounts_below(mountinfo: str, folder: str) -> list[str]:
    """The fifth field of each line, its octal escapes undone (proc_pid_mountinfo(5))."""
    points = [_unescaped(line.split(" ", 5)[4]) for line in mountinfo.splitlines()]
    return [point for point in reversed(points) if point.startswith(f"{folder}/")]


def filesystem_of(path: str) -> str:
    """The type of the file system that an absolute path without links lies in: "ext4"."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return parse_filesystem(file.read(), path)


def parse_filesystem(mountinfo: str, path: str) -> str:
    """The longest mount point above the path counts, and the last of several mounts on one."""
    best, kind = "", ""
    for line in mountinfo.splitlines():
        before, _dash, after = line.partition(" - ")
        point = _unescaped(before.split(" ", 5)[4])
        if len(point) >= len(best) and f"{path}/".startswith(f"{point.rstrip('/')}/"):
            best, kind = point, after.split(" ", 1)[0]
    return kind


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def unshare_mount_namespace() -> None:
    """A mount namespace of one's own, which still sees what the host mounts later. Only in a process of one thread."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare the mount namespace")
    set_propagation("/", MS_REC | MS_SLAVE)


def _unmark(work: str) -> None:
    """The kernel refuses what was mounted volatile once, until its mark is gone (overlayfs.rst): a restart's work."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{work}/work/incompat/volatile/dirty")
        os.rmdir(f"{work}/work/incompat/volatile")


def mount_overlay(
    lower_names: Sequence[str],
    layers_dir: str,
    upper: str,
    work: str,
    target: str,
    *,
    volatile: bool = False,
    userxattr: bool = False,
) -> None:
    """Stack layers (uppermost first, names relative to `layers_dir`) below a writable `upper` at `target`.

    `volatile` skips every sync: for containers that don't outlive the host's run; such an upper must not be mounted
    again after a crash. Changes the working directory of the calling thread's process for an instant: main thread only.
    """
    flags = tuple(name for name, wanted in (("volatile", volatile), ("userxattr", userxattr)) if wanted)
    options = overlay_options(lower_names, upper, work, flags)
    if volatile:
        _unmark(work)
    home = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(layers_dir)
        if len(os.fsencode(options)) <= OPTIONS_LIMIT:
            mount("overlay", target, "overlay", 0, options)
        else:
            _mount_tall_overlay(lower_names, upper, work, target, flags)
    finally:
        os.fchdir(home)
        os.close(home)


def mount_fuse(device: int, target: str, *, check_permissions: bool, max_read: int) -> None:
    """Mount a FUSE file system for every user, served by whoever reads the opened /dev/fuse.

    With `check_permissions` the kernel holds modes and owners against the caller; without, the server alone decides.
    """
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,max_read={max_read}"
    if check_permissions:
        options += ",default_permissions"
    mount("hostvm", target, "fuse.hostvm", MS_NODEV, options)


def overlay_options(lower_names: Sequence[str], upper: str, work: str, flags: Sequence[str] = ()) -> str:
    """The option string of mount(2); ":" separates layers, so paths that hold ":", "," or a backslash are escaped."""
    lower = ":".join(escape_overlay_path(name) for name in lower_names)
    words = [f"lowerdir={lower}", f"upperdir={escape_overlay_path(upper)}", f"workdir={escape_overlay_path(work)}"]
    return ",".join([*words, *flags])


def escape_overlay_path(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _mount_tall_overlay(names: Sequence[str], upper: str, work: str, target: str, flags: Sequence[str]) -> None:
    context = _syscall(_SYS_FSOPEN, "open overlay", ctypes.c_char_p(b"overlay"), ctypes.c_uint(1))
    try:
        for name in names:
            _configure(context, "lowerdir+", name)
        _configure(context, "upperdir", upper)
        _configure(context, "workdir", work)
        for flag in flags:
            _configure(context, flag, None)
        nothing = ctypes.c_void_p(None)
        _syscall(_SYS_FSCONFIG, f"make overlay for {target}", context, _FSCONFIG_CMD_CREATE, nothing, nothing, 0)
        mounted = _syscall(_SYS_FSMOUNT, f"make overlay for {target}", context, 1, 0)
    finally:
        os.close(context)
    try:
        _move_mount(mounted, target)
    finally:
        os.close(mounted)


def _configure(context: int, key: str, value: str | None) -> None:
    command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
    raw = ctypes.c_char_p(None if value is None else os.fsencode(value))
    _syscall(_SYS_FSCONFIG, f"overlay option {key}={value}", context, command, ctypes.c_char_p(key.encode()), raw, 0)


def _move_mount(mounted: int, target: str) -> None:
    at_cwd, empty, path = ctypes.c_int(-100), ctypes.c_char_p(b""), ctypes.c_char_p(os.fsencode(target))
    _syscall(_SYS_MOVE_MOUNT, f"mount overlay on {target}", mounted, empty, at_cwd, path, _MOVE_MOUNT_F_EMPTY_PATH)


def _syscall(number: int, what: str, *arguments: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    _check(result, what)
    return result


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
