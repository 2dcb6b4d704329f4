"""Network namespaces: made, entered and left by the calling thread.

setns(2) and unshare(2) with CLONE_NEWNET act on one thread only, so an engine that does this on its main thread, and
always comes back, disturbs no other thread. Whatever was opened inside (a socket) stays there for its life.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def open_own_network_namespace() -> int:
    """A descriptor of the calling thread's network namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def inside_new_network_namespace() -> Iterator[int]:
    """Runs the block in a fresh namespace and yields a descriptor of it, which the caller owns once it succeeded.

    The descriptor is the namespace's life: when it is closed and no process or socket is inside, the kernel takes the
    namespace and every veth in it away, in its own time.
    """
    home = open_own_network_namespace()
    try:
        _check(_libc.unshare(CLONE_NEWNET), "unshare network namespace")
        try:
            yield from _own_until_failure(open_own_network_namespace())
        finally:
            _enter(home)
    finally:
        os.close(home)


@contextlib.contextmanager
def inside_network_namespace(namespace: int) -> Iterator[None]:
    """Runs the block in the namespace of that descriptor, then comes back."""
    home = open_own_network_namespace()
    try:
        _enter(namespace)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)


def _own_until_failure(namespace: int) -> Iterator[int]:
    try:
        yield namespace
    except BaseException:
        os.close(namespace)
        raise


def _enter(namespace: int) -> None:
    _check(_libc.setns(namespace, CLONE_NEWNET), "enter network namespace")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
