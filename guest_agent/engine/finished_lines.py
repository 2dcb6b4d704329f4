"""What a log of lines has of a process's output while it runs. Pure."""

from __future__ import annotations

#: dockerd's buffer for a line that doesn't end: full, it is written as it is (daemon/logger/copier.go: defaultBufSize).
_BUFFER = 16 << 10


class FinishedLines:
    """dockerd writes a line to its log when it is complete, so that `attach?logs=1` has no unfinished one in it."""

    def __init__(self) -> None:
        self._rest: dict[int, bytes] = {}

    def of(self, stream: int, data: bytes) -> bytes:
        """What is complete with the next bytes of a stream."""
        data = self._rest.pop(stream, b"") + data
        end = data.rfind(b"\n") + 1
        end += (len(data) - end) // _BUFFER * _BUFFER
        self._rest[stream] = data[end:]
        return data[:end]
