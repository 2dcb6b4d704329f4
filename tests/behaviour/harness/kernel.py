"""The few system calls that the harness needs and Python 3.11 doesn't have."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC = 0x4000
MS_SLAVE = 1 << 19
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """unshare(2) for the calling thread and the processes that it starts."""
    _call("unshare", flags)


def enter(descriptor: int, kind: int = CLONE_NEWNET) -> None:
    """setns(2) for the calling thread."""
    _call("setns", descriptor, kind)


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    _call("mount", source.encode(), target.encode(), kind.encode(), flags, options.encode())


def become_subreaper() -> None:
    """Orphans among this process's descendants become its children (prctl(2))."""
    _call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def open_network_namespace() -> int:
    """A descriptor of the calling thread's network namespace; it keeps the namespace alive."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def inside_network(descriptor: int) -> Iterator[None]:
    """The calling thread is in another network namespace meanwhile; sockets made there stay there."""
    home = open_network_namespace()
    try:
        enter(descriptor)
        yield
    finally:
        enter(home)
        os.close(home)
