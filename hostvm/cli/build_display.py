"""A build as its user sees it: the classic builder's lines as they are, or a line for each step on a terminal."""

from posix import environ, isatty
from time import monotonic

from hostvm.cli.failure import Failure
from hostvm.cli.output import write_error, write_out
from hostvm.cli.progress import plain_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Display(Protocol):
        """Takes docker's progress objects one after the other."""

        def take(self, record: dict[str, object]) -> None: ...

        def fail(self) -> None:
            """The build ends with an error, which is shown next."""

        def close(self) -> None: ...


_CLOSING = ("Successfully built ", "Successfully tagged ", "[Warning]", "# Executing ")
#: Lines of a running step's output that are shown below it.
_TAIL = 6
_DIM, _RED, _PLAIN, _CLEAR_BELOW = "\x1b[2m", "\x1b[31m", "\x1b[0m", "\x1b[J"


def open_display(kind: str, quiet: bool, stdout_is_taken: bool = False) -> "Display":
    """What suits the place where it is shown: stderr where stdout has the result. Failure for an unknown kind."""
    if kind not in ("auto", "plain", "tty"):
        raise Failure(f'invalid progress mode {kind}: must be one of "auto", "plain" or "tty"', 125)
    if stdout_is_taken:
        return PlainDisplay(2)
    if quiet:
        return QuietDisplay()
    on_terminal = isatty(1) and environ.get(b"TERM") != b"dumb"
    if kind == "plain" or (kind == "auto" and not on_terminal):
        return PlainDisplay()
    return StepDisplay()


class PlainDisplay:
    """Everything as it comes; the colours in which the classic builder shows stderr only on a terminal."""

    def __init__(self, descriptor: int = 1) -> None:
        self._write = write_out if descriptor == 1 else write_error
        self._coloured = isatty(descriptor) and _wants_colours()

    def take(self, record: dict[str, object]) -> None:
        text = record.get("stream")
        if text is None:
            line = plain_line(record)
            text = f"{line}\n" if line else ""
        self._write(str(text) if self._coloured else without_colours(str(text)))

    def fail(self) -> None:
        """Whatever was said stands there already."""

    def close(self) -> None:
        pass


class QuietDisplay:
    """The image's id, which is all that is told; of a failed build, on stderr, what was told then."""

    def __init__(self) -> None:
        self._told: list[str] = []
        self._write = write_out

    def take(self, record: dict[str, object]) -> None:
        self._told.append(without_colours(str(record.get("stream") or "")))

    def fail(self) -> None:
        self._write = write_error

    def close(self) -> None:
        self._write("".join(self._told))


def without_colours(text: str) -> str:
    return text.replace("\x1b[91m", "").replace("\x1b[0m", "")


class StepDisplay:
    """`[3/10] RUN make   2.1s`: of a running step the last lines of its output, of a failed one all of it."""

    def __init__(self) -> None:
        self._coloured = _wants_colours()
        self._title = ""
        self._begin = monotonic()
        self._output: list[str] = []
        self._partial = ""
        self._state = ""
        self._drawn = 0

    def take(self, record: dict[str, object]) -> None:
        text = record.get("stream")
        if text is None:
            self._note(plain_line(record))
            return
        for line in str(text).splitlines(keepends=True):
            self._take_line(line)

    def fail(self) -> None:
        """The step's output stays on the screen, whole."""
        self._erase()
        if self._title:
            write_out(self._in(_RED, f"{self._title}  failed") + "\n")
            write_out("".join(f"{line}\n" for line in [*self._output, self._partial] if line))
        self._title = ""

    def close(self) -> None:
        self._finish()

    def _take_line(self, line: str) -> None:
        count, found, source = line.partition(" : ")
        if found and count.startswith("Step ") and "/" in count:
            self._finish()
            self._title = f"[{count.removeprefix('Step ')}] {source.rstrip()}"
            self._begin = monotonic()
            self._draw()
        elif line.startswith(" ---> Using cache"):
            self._state = "CACHED"
        elif line.startswith(_CLOSING):
            self._finish()
            write_out(line)
        elif not line.startswith(" ---> ") and not self._ends_title(line):
            self._add(without_colours(line))

    def _ends_title(self, line: str) -> bool:
        return line == "\n" and not self._output and not self._partial

    def _add(self, text: str) -> None:
        self._partial += text
        *whole, self._partial = self._partial.split("\n")
        self._output += [line.rpartition("\r")[2] for line in (one.rstrip("\r") for one in whole)]
        if whole:
            self._draw()

    def _note(self, line: str) -> None:
        if line:
            self._output.append(line)
            self._draw()

    def _draw(self) -> None:
        """The title, and the last lines below; what was drawn before is overwritten."""
        self._erase()
        width = _columns()
        lines = [self._title[:width], *(self._in(_DIM, f"  {line[: width - 2]}") for line in self._output[-_TAIL:])]
        write_out("".join(f"{line}\n" for line in lines))
        self._drawn = len(lines)

    def _erase(self) -> None:
        if self._drawn:
            write_out(f"\x1b[{self._drawn}A\r{_CLEAR_BELOW}")
            self._drawn = 0

    def _finish(self) -> None:
        """The step is over: its title stays, with its time."""
        self._erase()
        if self._title:
            took = self._state or f"{monotonic() - self._begin:.1f}s"
            room = _columns() - len(took) - 2
            write_out(f"{self._title[:room]}  {self._in(_DIM, took)}\n")
        self._title = self._state = self._partial = ""
        self._output = []

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._coloured else text


def _wants_colours() -> bool:
    return b"NO_COLOR" not in environ


def _columns() -> int:
    from hostvm.cli.terminal import console_size

    return (console_size()[1] or 80) - 1
