"""A machine's start as its user sees it: on a terminal one line that changes, elsewhere only what takes minutes.

On stderr: the command that started the machine has its own output.
"""

from posix import environ, isatty

from hostvm.cli.output import write_error
from hostvm.machines.connect import NOTE

#: How stages begin that take minutes: the guest image is downloaded and built, once.
_LONG = "making the guest image"
_CLEAR = "\r\x1b[K"


class StartProgress:
    """Called with each stage; `close` takes the line away."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._line = isatty(2) and environ.get(b"TERM") != b"dumb"
        self._told = ""

    def __call__(self, stage: str) -> None:
        note = stage.removeprefix(NOTE)
        if note != stage:
            write_error(f"{_CLEAR if self._line else ''}{note}\n")
        elif self._line:
            self._told = stage
            write_error(f"{_CLEAR}Starting {self._name}: {stage}")
        elif stage.startswith(_LONG):
            self._tell(stage.rpartition("): ")[0] or stage)

    def _tell(self, stage: str) -> None:
        """A line for each step, without how far it has come."""
        if stage.rstrip(")") != self._told:
            self._told = stage.rstrip(")")
            write_error(f"Starting {self._name}: {stage}\n")

    def close(self) -> None:
        if self._line and self._told:
            write_error(_CLEAR)
