"""Makes this Python look like one on a Mac: what only Linux has is gone, and so are /proc and /sys.

What it can't do is be a Mac: kqueue, Hypervisor.framework, launchd and the file system's own ways are not here. It
shows that nothing of the host side needs what a Mac lacks, at import and wherever unit tests go.

The names are those whose documentation says "Availability: Linux" (docs.python.org, os, socket, select, signal, fcntl,
mmap, resource, time), and those that Darwin's headers don't have.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import importlib.abc
import importlib.machinery
import mmap
import os
import posix
import resource
import select
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence

#: Modules that a Mac's Python doesn't have, and those of ours that are for the guest alone.
ABSENT = ("spwd", "ossaudiodev", "nis", "guest_agent", "msilib")
#: Of ours the host side has the wire types.
PRESENT = ("guest_agent.wire",)

_OS = """
    accept4 copy_file_range eventfd eventfd_read eventfd_write getrandom getresgid getresuid getxattr listxattr
    memfd_create pidfd_open pipe2 posix_fadvise posix_fallocate preadv2 pwritev2 removexattr sched_getaffinity
    sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setparam sched_setscheduler
    setns setresgid setresuid setxattr splice unshare fdatasync
    O_PATH O_TMPFILE O_DIRECT O_NOATIME O_LARGEFILE O_RSYNC PRIO_ SPLICE_ EFD_ MFD_ GRND_ RWF_ SCHED_BATCH SCHED_IDLE
    CLONE_ XATTR_ POSIX_FADV_ P_PIDFD ST_APPEND ST_MANDLOCK ST_NOATIME ST_NODEV ST_NOEXEC ST_RELATIME ST_SYNCHRONOUS
"""
_SOCKET = """
    AF_ALG AF_CAN AF_NETLINK AF_PACKET AF_QIPCRTR AF_RDS AF_TIPC AF_VSOCK ALG_ CAN_ NETLINK_ PACKET_ VMADDR_ SO_VM_
    SOCK_CLOEXEC SOCK_NONBLOCK SO_PEERCRED SO_PASSCRED SO_PEERSEC SO_PASSSEC SCM_CREDENTIALS SO_BINDTODEVICE SO_MARK
    SO_DOMAIN SO_PROTOCOL SO_PRIORITY SO_INCOMING_CPU MSG_NOSIGNAL MSG_CMSG_CLOEXEC MSG_ERRQUEUE MSG_MORE MSG_CONFIRM
    TCP_CORK TCP_USER_TIMEOUT TCP_QUICKACK TCP_DEFER_ACCEPT TCP_CONGESTION TCP_LINGER2 TCP_SYNCNT TCP_WINDOW_CLAMP
    IP_TRANSPARENT IP_BIND_ADDRESS_NO_PORT
"""
_REMOVED: dict[types.ModuleType, str] = {
    os: _OS,
    posix: _OS,
    socket: _SOCKET,
    select: "epoll EPOLL",
    signal: "pidfd_send_signal sigtimedwait sigwaitinfo SIGPOLL SIGPWR SIGSTKFLT SIGRTMIN SIGRTMAX SIGCLD",
    fcntl: "F_ADD_SEALS F_GET_SEALS F_SEAL_ F_SETPIPE_SZ F_GETPIPE_SZ F_OFD_ F_NOTIFY F_SETSIG F_GETSIG F_SETLEASE DN_",
    mmap: "MAP_POPULATE MAP_DENYWRITE MAP_EXECUTABLE MAP_STACK MADV_DONTFORK MADV_DOFORK MADV_HUGEPAGE MADV_REMOVE",
    resource: "prlimit RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_RTTIME RLIMIT_SIGPENDING RLIMIT_OFILE",
    time: "CLOCK_BOOTTIME CLOCK_TAI pthread_getcpuclockid",
}


def pretend() -> None:
    """From here on, in this process; there is no way back."""
    import _socket

    for module, words in {**_REMOVED, _socket: _SOCKET}.items():
        _remove(module, words.split())
    _tell_those_who_looked_before()
    sys.platform = "darwin"
    os.uname = posix.uname = _uname(os.uname())
    sys.modules["_scproxy"] = _system_proxies()
    sys.meta_path.insert(0, _Refusal())
    for name in [name for name in sys.modules if _is_absent(name)]:
        del sys.modules[name]
    _hide_folders()


def _remove(module: types.ModuleType, words: Sequence[str]) -> None:
    """A word that ends in "_" stands for every name that begins so; so does EPOLL."""
    for name in list(vars(module)):
        if name in words or any(name.startswith(word) for word in words if word.endswith("_") or word == "EPOLL"):
            delattr(module, name)


def _tell_those_who_looked_before() -> None:
    """Modules of the standard library that chose their ways when they were imported."""
    tempfile._O_TMPFILE_WORKS = False  # type: ignore[attr-defined]
    vars(selectors)["DefaultSelector"] = selectors.PollSelector
    shutil._copyxattr = lambda *_arguments, **_options: None  # type: ignore[attr-defined]


def _uname(real: os.uname_result) -> Callable[[], os.uname_result]:
    """Of an Intel Mac where this host is one in all but name, so that its QEMU and its wheels are the same."""
    return lambda: os.uname_result(("Darwin", real.nodename, "24.0.0", "Darwin Kernel Version 24.0.0", real.machine))


def _system_proxies() -> types.ModuleType:
    """What urllib.request imports on a Mac."""
    module = types.ModuleType("_scproxy")
    vars(module).update(_get_proxy_settings=dict, _get_proxies=dict)
    return module


def _is_absent(name: str) -> bool:
    def within(roots: Sequence[str]) -> bool:
        return any(name == root or name.startswith(f"{root}.") for root in roots)

    return within(ABSENT) and not within(PRESENT) and name != "guest_agent"


class _Refusal(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if _is_absent(name):
            raise ModuleNotFoundError(f"no {name} on a Mac", name=name)
        return None


def _hide_folders() -> None:
    """open() and os.* of a path below /proc or /sys find nothing."""
    for module, names in ((builtins, ("open",)), (os, ("open", "stat", "lstat", "listdir", "scandir", "readlink"))):
        for name in names:
            setattr(module, name, _hiding(getattr(module, name)))


def _hiding(call: Callable[..., object]) -> Callable[..., object]:
    def hidden(path: object = ".", *arguments: object, **options: object) -> object:
        if isinstance(path, (str, bytes, os.PathLike)) and _is_hidden(os.fsdecode(path)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return call(path, *arguments, **options)

    return hidden


def _is_hidden(path: str) -> bool:
    return path.startswith(("/proc/", "/sys/")) or path in ("/proc", "/sys")
