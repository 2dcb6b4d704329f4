"""What whoever started the supervisor hears: stages, then that it is ready or why not. Lines of JSON on a pipe."""

from __future__ import annotations

import json
import os

from guest_agent.wire.errors import HostvmError, error_record


class Report:
    """`descriptor` is -1 where nobody wants to hear. A reader that has gone is no reason to stop."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def stage(self, text: str) -> None:
        self._write({"stage": text})

    def note(self, text: str) -> None:
        """What the user should know of this start."""
        self._write({"note": text})

    def ready(self) -> None:
        self._write({"ready": True})
        self._close()

    def failed(self, error: HostvmError) -> None:
        self._write({"error": error_record(error)})
        self._close()

    def _write(self, line: dict[str, object]) -> None:
        if self._descriptor >= 0:
            try:
                os.write(self._descriptor, json.dumps(line).encode() + b"\n")
            except OSError:
                self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
