"""What `cp` says: how far it has come, on a terminal; how much it was, at the end."""

from __future__ import annotations

from collections.abc import Iterator
from posix import isatty
from time import monotonic

from hostvm.cli.output import write_error
from hostvm.cli.render.units import human_size

_EVERY = 0.075


class CopyProgress:
    """Counts what passes. `title` is docker's "Copying to container - "."""

    def __init__(self, title: str, quiet: bool) -> None:
        self._title = title
        self._quiet = quiet
        self._live = not quiet and isatty(2)
        self._shown_at = 0.0
        self._size = 0

    def counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._size += len(piece)
            if self._live and monotonic() - self._shown_at >= _EVERY:
                self._shown_at = monotonic()
                write_error(f"\r{self._title}{human_size(self._size)}\x1b[K")
            yield piece

    def clear(self) -> None:
        if self._live and self._shown_at:
            write_error("\r\x1b[K")

    def done(self, destination: str) -> None:
        self.clear()
        if not self._quiet:
            write_error(f"Successfully copied {human_size(self._size)} to {destination}\n")
