"""What a build tells, in the Dockerfile's order although its stages run at the same time.

The first stage that isn't done speaks directly; what the others say waits until it is their turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from guest_agent.engine.build_reports import Report

#: Characters of a waiting stage's output that are kept; the oldest pieces are left out.
_KEPT = 4 << 20
#: What a piece costs beside its text, in the same measure.
_PIECE_COST = 256
_RED, _PLAIN = "\x1b[91m", "\x1b[0m"


class BuildOutput:
    """`put` takes docker's progress objects, in the order in which the client shall see them.

    A `quiet` build tells nothing, unless it fails: then it tells all.
    """

    def __init__(self, put: Callable[[Report], None], stages: Iterable[int], quiet: bool) -> None:
        self._tell = put
        self._untold = _Kept()
        self._put = self._untold.add if quiet else put
        self._waiting: dict[int, _Kept] = {stage: _Kept() for stage in stages}
        self._done: set[int] = set()

    def say(self, stage: int, text: str) -> None:
        """A piece of text for the client's terminal."""
        self.report(stage, {"stream": text})

    def complain(self, stage: int, text: str) -> None:
        """The same of what a command says on stderr, and of warnings."""
        self.say(stage, f"{_RED}{text}{_PLAIN}")

    def report(self, stage: int, report: Report) -> None:
        if stage == next(iter(self._waiting)):
            self._put(report)
        else:
            self._waiting[stage].add(report)

    def finish(self, stage: int) -> None:
        """The stage has said everything; the next ones may speak."""
        self._done.add(stage)
        while self._waiting and next(iter(self._waiting)) in self._done and len(self._waiting) > 1:
            self._waiting.pop(next(iter(self._waiting)))
            self._flush(next(iter(self._waiting)))

    def fail(self, stage: int) -> None:
        """The build ends here: what this stage has said is shown, that of the others isn't needed any more."""
        if stage in self._waiting:
            self._flush(stage)
        for report in self._untold.take():
            self._tell(report)

    def _flush(self, stage: int) -> None:
        for report in self._waiting[stage].take():
            self._put(report)


class _Kept:
    """The newest of what a stage has said."""

    def __init__(self) -> None:
        self._reports: deque[Report] = deque()
        self._size = 0

    def add(self, report: Report) -> None:
        self._reports.append(report)
        self._size += _cost(report)
        while self._size > _KEPT:
            self._size -= _cost(self._reports.popleft())

    def take(self) -> Iterable[Report]:
        """All of it, which is forgotten."""
        taken, self._reports, self._size = self._reports, deque(), 0
        return taken


def _cost(report: Report) -> int:
    return len(str(report.get("stream", ""))) + _PIECE_COST
