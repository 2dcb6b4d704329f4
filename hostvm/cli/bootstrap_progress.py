"""A build from Debian's packages as its user sees it: bars on a terminal, else a line for each step. On stderr."""

from __future__ import annotations

import os
import sys
import threading

from hostvm.cli.output import write_error


class PlainProgress:
    """A line for each step, on stderr."""

    def note(self, text: str) -> None:
        write_error(f"{text}\n")

    def begin(self, title: str, total: int) -> None:
        self.note(f"{title} ({total / 1e6:.1f} MB)")

    def advance(self, count: int) -> None:
        pass

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass


class BarProgress:
    """A bar for what is downloaded, a line that turns for what takes its time."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._console = Console(stderr=True)
        self._bars = Progress(*columns, console=self._console, transient=True)
        self._steps = Progress(SpinnerColumn(), TextColumn("{task.description}"), console=self._console, transient=True)
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        self._steps.stop()
        for task in self._steps.task_ids:
            self._steps.remove_task(task)
        if text.startswith("warning:"):
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
            return
        self._steps.add_task(text, total=None)
        self._steps.start()

    def begin(self, title: str, total: int) -> None:
        self._steps.stop()
        self._bars.add_task(title, total=total)
        self._bars.start()

    def advance(self, count: int) -> None:
        with self._lock:
            self._bars.advance(self._bars.task_ids[-1], count)

    def finish(self) -> None:
        self._bars.stop()
        for task in self._bars.task_ids:
            self._bars.remove_task(task)

    def close(self) -> None:
        self._steps.stop()


def open_bootstrap_progress() -> PlainProgress | BarProgress:
    """What suits the place where it is shown."""
    return BarProgress() if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else PlainProgress()
