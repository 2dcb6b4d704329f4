"""What a container prints, on disk: one stretch after the other (`segments`), of which the oldest may be thrown away.

Everything that shows output (attach, logs, the exchange of `run`) reads from here, each at its own pace: a stalled
client neither stops the container nor costs memory. Where the log is limited in size, a new stretch begins when the
last one is full, and the oldest goes; unless an attached client hasn't read that yet: then the last one grows until it
has.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from guest_agent.engine.segments import ENTRY_SIZE, STDERR, STDOUT, Chunk, Move, Moved, Position, Segment

_UNLIMITED = 1 << 62

#: Folder of a stretch that isn't the first: how many chunks, and bytes of each stream, came before.
_FOLDER = re.compile(r"([0-9]+)-([0-9]+)-([0-9]+)")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of the output is kept: `count` stretches of `size` bytes; size 0 = all of it, in one."""

    size: int = 0
    count: int = 1


class OutputLog:
    """The output of one container over all its runs."""

    def __init__(self, directory: str, limits: Limits = Limits()) -> None:
        self._directory = directory
        self._limits = limits
        self._listeners: set[Callable[[], None]] = set()
        self._held: list[Position] = []
        self._closing = False
        self._moving = 0  #: moves that are under way: they know files and places of the last stretch
        self._segments = [Segment(directory, Position(0, 0, 0))]
        if os.path.isdir(directory):
            self._recover()

    @property
    def _last(self) -> Segment:
        return self._segments[-1]

    # -- writing

    def plan_move(self, pipe: int, stream: int) -> Move:
        """Of what a readable pipe holds into the stream's file: to be performed, in a thread, and then `moved`."""
        move = self._last.plan_move(pipe, stream, self._room())
        self._moving += 1
        return move

    def moved(self, stream: int, moved: Moved) -> None:
        """What came of a planned move."""
        self._moving -= 1
        if moved.length and moved.is_kept:
            self._last.note(stream, moved.length)
        if moved.length:
            self._written()
        if self._closing:
            self.close()

    def append(self, data: bytes, stream: int) -> None:
        """Write bytes that come from a terminal, which can't be spliced into a file."""
        self._last.append(data, stream)
        self._written()

    def _room(self) -> int:
        """Bytes that still fit into the last stretch; one that has outgrown its limit takes all."""
        room = self._limits.size - self._last.size - ENTRY_SIZE
        return room if room > 0 else _UNLIMITED

    def _written(self) -> None:
        if self._limits.size and self._last.size + ENTRY_SIZE >= self._limits.size and not self._moving:
            self._rotate()
        self.notify()

    def _rotate(self) -> None:
        full = len(self._segments) >= self._limits.count
        if full and any(position.entries < self._segments[0].end.entries for position in self._held):
            return
        base = self._last.end.copy()
        folder = f"{self._directory}/{base.entries}-{base.stdout}-{base.stderr}"
        try:
            os.makedirs(folder, mode=0o710, exist_ok=True)  # at once: it tells a successor where the numbers stand
        except OSError:
            return  # a full disk
        if full:
            self._segments.pop(0).remove()
        if not self._listeners:
            self._close_files()
        self._segments.append(Segment(folder, base))

    def hold(self, position: Position) -> None:
        """Nothing from `position` on is thrown away, which its owner moves along; until `release`."""
        self._held.append(position)

    def release(self, position: Position) -> None:
        """Idempotent."""
        self._held = [held for held in self._held if held is not position]

    # -- reading

    def chunks(self, position: Position, limit: int = 256) -> list[Chunk]:
        """Up to `limit` chunks from `position` on; it is only moved over what has been thrown away."""
        segment = self._find_segment(position)
        return segment.chunks(position, limit) if segment else []

    def pass_older(self, position: Position, since_ns: int, limit: int = 1 << 14) -> bool:
        """Move over up to `limit` chunks that came before `since_ns`; False where the next one didn't, or is none."""
        segment = self._find_segment(position)
        return segment is not None and segment.pass_older(position, since_ns, limit)

    def _find_segment(self, position: Position) -> Segment | None:
        """Where the next chunk lies."""
        first = self._segments[0].base
        if position.entries < first.entries:
            position.move_to(first)
        return next((segment for segment in self._segments if position.entries < segment.end.entries), None)

    def chunks_before(self, position: Position, limit: int = 256) -> list[Chunk]:
        """Up to `limit` chunks that lie before `position`, the nearest first."""
        for segment in reversed(self._segments):
            if segment.base.entries < position.entries:
                return segment.chunks_before(position, limit)
        return []

    def read(self, chunk: Chunk) -> bytes:
        """Its bytes; none where it has been thrown away."""
        for segment in self._segments:
            if segment.holds(chunk.stream, chunk.offset):
                return segment.read(chunk)
        return b""

    def notify(self) -> None:
        """Wake all who listen: there is more, or nothing more will come."""
        for listener in self._listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each chunk and when a run's output has ended, until `unlisten`."""
        self._listeners.add(listener)
        for segment in self._segments[:-1]:
            segment.open_files()

    def unlisten(self, listener: Callable[[], None]) -> None:
        self._listeners.discard(listener)
        if self._closing:
            self.close()

    def snapshot(self) -> Position:
        """The end as it is at this moment."""
        return self._last.end.copy()

    # -- files

    def close(self) -> None:
        """Close the files; they are opened again when needed.

        While somebody listens they stay open: the folder may be removed next, and he hasn't read everything yet.
        """
        self._closing = bool(self._listeners or self._moving)
        if not self._closing:
            self._close_files()

    def _close_files(self) -> None:
        for segment in self._segments:
            segment.close()

    def _recover(self) -> None:
        """The stretches that an earlier engine left; the first lies in the folder itself."""
        names = [found for name in os.listdir(self._directory) if (found := _FOLDER.fullmatch(name))]
        bases = sorted((Position(*map(int, name.groups())) for name in names), key=lambda base: base.entries)
        rotated = [Segment(f"{self._directory}/{base.entries}-{base.stdout}-{base.stderr}", base) for base in bases]
        if os.path.exists(f"{self._directory}/index") or not rotated:
            rotated.insert(0, self._segments[0])
        self._segments = rotated
        for segment in self._segments:
            segment.recover()


__all__ = ["ENTRY_SIZE", "STDERR", "STDOUT", "Chunk", "Limits", "Moved", "OutputLog", "Position"]
