"""A tar on standard input, inflated by a thread of its own: isal and sha256 release the GIL."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from queue import Queue

from guest_agent.store.inflate import MAGIC_SIZE, Inflater

_READ_SIZE = 256 << 10
#: Pieces of 1 MiB that wait between the two threads.
_QUEUED = 4


class Inflated:
    """The uncompressed stream, piece by piece. Raises InflateError, OSError."""

    def __init__(self, start: bytes, inflater: Inflater) -> None:
        self._queue: Queue[bytes | Exception | None] = Queue(_QUEUED)
        threading.Thread(target=self._work, args=(start, inflater), daemon=True).start()

    def __iter__(self) -> Iterator[bytes]:
        while (piece := self._queue.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def _work(self, data: bytes, inflater: Inflater) -> None:
        try:
            while data:
                for piece in inflater.feed(data):
                    self._queue.put(piece)
                data = os.read(0, _READ_SIZE)
            inflater.finish()
            self._queue.put(None)
        except Exception as error:  # raised again in the main thread
            self._queue.put(error)


def read_start() -> bytes:
    """Enough to tell how it is compressed."""
    start = b""
    while len(start) < MAGIC_SIZE and (data := os.read(0, _READ_SIZE)):
        start += data
    return start
