"""Being told when the kernel is out of memory in a container's group, while the container runs on.

v1 has an event descriptor for it (cgroup-v1/memory.rst, section 10); with v2 memory.events can be polled for a change
(cgroup-v2.rst). One epoll object holds them all: asyncio's own asks for input, which such a file always has.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections.abc import Callable
from dataclasses import dataclass

from guest_agent.runtime.cgroups import CgroupFacts

Tell = Callable[[], None]


@dataclass(slots=True)
class _Watched:
    descriptor: int
    tell: Tell
    kills: int = 0


class OomWatch:
    """For the event loop's thread alone. Where the kernel has no such thing, nobody is ever told."""

    def __init__(self, facts: CgroupFacts) -> None:
        self._facts = facts
        self._epoll = select.epoll()
        self._watched: dict[str, _Watched] = {}
        self._listening = False

    def watch(self, key: str, group: str, tell: Tell) -> None:
        """Call `tell` whenever the group runs out of memory, until `forget`. Idempotent."""
        if key in self._watched:
            return
        try:
            watched = self._open(self._facts.folder("memory", group), tell)
        except OSError:
            return  # the group has gone, or there is no memory controller
        self._watched[key] = watched
        if not self._listening:
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._look)
            self._listening = True

    def forget(self, key: str) -> None:
        """Idempotent."""
        watched = self._watched.pop(key, None)
        if watched is not None:
            os.close(watched.descriptor)  # which takes it out of the epoll object, too

    def _open(self, folder: str, tell: Tell) -> _Watched:
        if self._facts.version == 2:
            descriptor = os.open(f"{folder}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
            self._epoll.register(descriptor, select.EPOLLPRI)
            return _Watched(descriptor, tell, _read_kills(descriptor))
        descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            _ask_v1(folder, descriptor)
        except OSError:
            os.close(descriptor)
            raise
        self._epoll.register(descriptor, select.EPOLLIN)
        return _Watched(descriptor, tell)

    def _look(self) -> None:
        ready = {descriptor for descriptor, _ in self._epoll.poll(0)}
        for watched in [one for one in self._watched.values() if one.descriptor in ready]:
            if self._has_happened(watched):
                watched.tell()

    def _has_happened(self, watched: _Watched) -> bool:
        if self._facts.version != 2:
            with contextlib.suppress(BlockingIOError):
                return os.eventfd_read(watched.descriptor) > 0
            return False
        before, watched.kills = watched.kills, _read_kills(watched.descriptor)
        return watched.kills > before


def _ask_v1(folder: str, event: int) -> None:
    control = os.open(f"{folder}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with open(f"{folder}/cgroup.event_control", "w") as file:
            file.write(f"{event} {control}")
    finally:
        os.close(control)


def _read_kills(descriptor: int) -> int:
    """`oom_kill` of memory.events; to read it is what takes the event away. 0 where the group has gone."""
    try:
        text = os.pread(descriptor, 4096, 0).decode()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)
