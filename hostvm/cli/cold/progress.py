"""A pull on a terminal: a bar for each layer."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from hostvm.cli.progress import plain_line


class BarProgress:
    """Takes Docker's progress objects. Lines that belong to no layer are printed above the bars."""

    def __init__(self, on_stderr: bool) -> None:
        console = Console(file=sys.stderr if on_stderr else sys.stdout)
        columns = (
            TextColumn("{task.fields[layer]}"), TextColumn("{task.description:<20}"), BarColumn(),
            DownloadColumn(), TransferSpeedColumn(),
        )  # fmt: skip
        self._bars = Progress(*columns, console=console)
        self._tasks: dict[str, TaskID] = {}
        self._started = False

    def take(self, record: dict[str, object]) -> None:
        identifier = str(record.get("id") or "")
        detail = record.get("progressDetail")
        if not identifier or not isinstance(detail, dict):
            self._print(plain_line(record))
            return
        if str(record.get("status", "")).startswith("Pulling from"):
            self._print(plain_line(record))
            return
        self._update(identifier, str(record.get("status") or ""), detail)

    def _print(self, line: str) -> None:
        if line:
            self._bars.console.print(line, markup=False, highlight=False)

    def _update(self, layer: str, status: str, detail: dict[str, object]) -> None:
        self._start()
        if layer not in self._tasks:
            self._tasks[layer] = self._bars.add_task(status, total=None, layer=layer)
        task = self._tasks[layer]
        current, total = detail.get("current"), detail.get("total")
        if isinstance(current, int) and isinstance(total, int) and total:
            self._bars.update(task, description=status, completed=current, total=total)
        elif status in ("Pull complete", "Already exists", "Download complete"):
            known = self._bars.tasks[list(self._tasks).index(layer)].total or 1
            self._bars.update(task, description=status, completed=known, total=known)
        else:
            self._bars.update(task, description=status)

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._bars.start()

    def close(self) -> None:
        """Leaves the bars as they are, and gives the cursor back. May be called twice."""
        if self._started:
            self._started = False
            self._bars.stop()
