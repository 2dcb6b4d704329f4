"""A pull as the user sees it: plain lines here; bars (`cold/progress.py`) where there is a terminal."""

from posix import environ, isatty

from hostvm.cli.output import write_error, write_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Progress(Protocol):
        """Takes Docker's progress objects one after the other."""

        def take(self, record: dict[str, object]) -> None: ...

        def close(self) -> None: ...


class QuietProgress:
    """-q: nothing is shown."""

    def take(self, record: dict[str, object]) -> None:
        pass

    def close(self) -> None:
        pass


class PlainProgress:
    """One line for each change of state; what only says how far it has come is left out, as docker does."""

    def __init__(self, on_stderr: bool) -> None:
        self._write = write_error if on_stderr else write_out

    def take(self, record: dict[str, object]) -> None:
        line = plain_line(record)
        if line:
            self._write(line + "\n")

    def close(self) -> None:
        pass


def plain_line(record: dict[str, object]) -> str:
    """The line for a progress object; "" for one that only counts."""
    detail = record.get("progressDetail")
    if isinstance(detail, dict) and detail:
        return ""
    stream = record.get("stream")
    if stream:
        return str(stream).rstrip("\n")
    status = str(record.get("status") or "")
    identifier = str(record.get("id") or "")
    return f"{identifier}: {status}" if identifier and status else status


def open_progress(quiet: bool, on_stderr: bool) -> "Progress":
    """What suits the place where it is shown."""
    if quiet:
        return QuietProgress()
    if not isatty(2 if on_stderr else 1) or environ.get(b"TERM") == b"dumb":
        return PlainProgress(on_stderr)
    try:
        from hostvm.cli.cold.progress import BarProgress
    except ModuleNotFoundError:
        return PlainProgress(on_stderr)
    return BarProgress(on_stderr)
