"""Open files and folders of the guest.

A handle's number is random in its upper half: one that another server gave out is known as foreign, and is opened anew
by its node. A descriptor is closed when nobody uses it: a guest may release a handle while another thread still writes
through it, and the number must not mean another file meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from hostvm.shares.errnos import ENFILE, Refusal

#: What a folder holds: inode, name, DT_ constant.
Listing = list[tuple[int, bytes, int]]


@dataclass(slots=True, eq=False)
class Handle:
    """One open file; `descriptor` is -1 for an ancestor, which is no folder of the host."""

    node: int
    descriptor: int
    writable: bool = False
    listing: Listing | None = field(default=None, repr=False)
    users: int = 0
    released: bool = False


class HandleTable:
    """All handles, at most `limit`. Thread-safe where it says so."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._handles: dict[int, Handle] = {}
        self._of_node: dict[int, list[Handle]] = {}
        self._next = random.SystemRandom().randrange(1 << 31) << 32
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._handles)

    def add(self, handle: Handle, number: int = 0) -> int:
        """The handle's number; the table closes its descriptor, also where it refuses: ENFILE."""
        if len(self._handles) >= self._limit:
            _close(handle)
            raise Refusal(ENFILE)
        self._next += 1
        number = number or self._next
        self._handles[number] = handle
        self._of_node.setdefault(handle.node, []).append(handle)
        return number

    def find(self, number: int, node: int) -> Handle | None:
        """None for a number that isn't that node's."""
        handle = self._handles.get(number)
        return handle if handle is not None and handle.node == node else None

    def of_node(self, node: int) -> list[Handle]:
        return self._of_node.get(node, [])

    def release(self, number: int) -> None:
        handle = self._handles.pop(number, None)
        if handle is None:
            return
        others = self._of_node[handle.node]
        others.remove(handle)
        if not others:
            del self._of_node[handle.node]
        self._end(handle)

    def release_nodes(self, nodes: Iterable[int]) -> None:
        """Everything that is open of them."""
        gone = set(nodes)
        for number in [number for number, handle in self._handles.items() if handle.node in gone]:
            self.release(number)

    def clear(self) -> None:
        for number in list(self._handles):
            self.release(number)

    def nodes(self) -> set[int]:
        return set(self._of_node)

    @contextlib.contextmanager
    def using(self, handle: Handle) -> Iterator[int]:
        """The descriptor stays open in the block. From any thread, for a handle that `hold` was called for."""
        try:
            yield handle.descriptor
        finally:
            with self._lock:
                handle.users -= 1
                last = handle.released and handle.users == 0
            if last:
                _close(handle)

    def hold(self, handle: Handle) -> Handle:
        with self._lock:
            handle.users += 1
        return handle

    def _end(self, handle: Handle) -> None:
        with self._lock:
            handle.released = True
            last = handle.users == 0
        if last:
            _close(handle)


def _close(handle: Handle) -> None:
    if handle.descriptor >= 0:
        os.close(handle.descriptor)
        handle.descriptor = -1
