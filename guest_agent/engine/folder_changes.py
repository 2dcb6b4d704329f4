"""Tasks that wait for another process to write a file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from guest_agent.linux.inotify import Inotify


class FolderChanges:
    """For the life of the process and its loop; the kernel is asked once somebody waits."""

    def __init__(self) -> None:
        self._inotify: Inotify | None = None
        self._changed: dict[int, asyncio.Event] = {}

    @contextmanager
    def watched(self, folder: str) -> Iterator[asyncio.Event]:
        """Set when a file in it has been written, and when it has gone. One task a folder.

        Raises OSError: there is no such folder, or the kernel has no watches left.
        """
        inotify = self._inotify or self._open()
        watch = inotify.add(folder)
        self._changed[watch] = asyncio.Event()
        try:
            yield self._changed[watch]
        finally:
            del self._changed[watch]
            inotify.remove(watch)

    def _open(self) -> Inotify:
        self._inotify = inotify = Inotify()
        asyncio.get_running_loop().add_reader(inotify, self._tell, inotify)
        return inotify

    def _tell(self, inotify: Inotify) -> None:
        for watch in inotify.take():
            if watch in self._changed:
                self._changed[watch].set()
