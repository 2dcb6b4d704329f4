"""A tar that may be compressed, read as it arrives: `inflate` and `tar` one behind the other."""

from __future__ import annotations

from collections.abc import Iterator

from guest_agent.store.inflate import MAGIC_SIZE, InflateError, Inflater, open_inflater
from guest_agent.store.tar import TarDecoder, TarEntry, TarError


class TarStream:
    """Feed it pieces of any size, then `finish`. Raises TarError for what is wrong with the compression, too."""

    def __init__(self) -> None:
        self._start = b""
        self._inflater: Inflater | None = None
        self._decoder = TarDecoder()

    @property
    def empty(self) -> bool:
        """Nothing has come. To `finish` that is no error: whoever wants an archive asks."""
        return self._inflater is None and not self._start

    def feed(self, data: bytes) -> Iterator[TarEntry | memoryview]:
        """Entries, each followed by the pieces of its content. MUST be exhausted before the next call."""
        if self._inflater is None:
            self._start += data
            if len(self._start) < MAGIC_SIZE:
                return
            data, self._start = self._start, b""
            self._inflater = open_inflater(data)
        try:
            for piece in self._inflater.feed(data):
                yield from self._decoder.feed(piece)
        except InflateError as error:
            raise TarError(str(error)) from error

    def finish(self) -> None:
        """TarError where the stream has ended too early."""
        if self._start:
            raise TarError("unexpected end of the archive")
        if self._inflater is None:
            return
        try:
            self._inflater.finish()
        except InflateError as error:
            raise TarError(str(error)) from error
        self._decoder.finish()
