"""A build on a terminal: what stands on the screen after the lines of the classic builder have come."""

from __future__ import annotations

import re

import pytest

from hostvm.cli import build_display
from hostvm.cli.build_display import PlainDisplay, StepDisplay

_CODES = re.compile(r"\x1b\[(\d*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


class Screen:
    """As much of a terminal as the display uses: up, clear below, start of line, new line; colours are left out."""

    def __init__(self) -> None:
        self.rows = [""]
        self._row = 0

    def write(self, text: str) -> None:
        for number, code, start, new_line, plain in _CODES.findall(text):
            if code == "A":
                self._row -= int(number or 1)
            elif code == "J":
                del self.rows[self._row + 1 :]
                self.rows[self._row] = ""
            elif start:
                pass
            elif new_line:
                self._row += 1
                self.rows += [""] * (self._row - len(self.rows) + 1)
            elif plain:
                self.rows[self._row] += plain

    @property
    def text(self) -> list[str]:
        return [row.rstrip() for row in self.rows if row.strip()]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    made = Screen()
    monkeypatch.setattr(build_display, "write_out", made.write)
    monkeypatch.setattr(build_display, "_columns", lambda: 40)
    monkeypatch.setattr(build_display, "monotonic", lambda: 7.0)
    return made


def take(display: StepDisplay | PlainDisplay, *lines: str) -> None:
    for line in lines:
        display.take({"stream": line})


def test_a_running_step_shows_the_end_of_its_output(screen: Screen) -> None:
    display = StepDisplay()
    take(display, "Step 1/2 : FROM busybox", "\n", " ---> a1b2\n", "Step 2/2 : RUN make", "\n", " ---> Running in c3\n")
    take(display, *(f"line {number}\n" for number in range(20)), "half a li")
    assert screen.text == ["[1/2] FROM busybox  0.0s", "[2/2] RUN make", *(f"  line {n}" for n in range(14, 20))]
    take(display, "ne\n")
    assert screen.text[-1] == "  half a line"


def test_what_is_over_is_a_line_for_each_step(screen: Screen) -> None:
    display = StepDisplay()
    take(display, "Step 1/2 : FROM busybox\n", " ---> a1b2\n", "Step 2/2 : RUN make\n", " ---> Using cache\n")
    take(display, " ---> c3d4\n", "Successfully built c3d4\n", "Successfully tagged app:1\n")
    display.close()
    expected = ["[1/2] FROM busybox  0.0s", "[2/2] RUN make  CACHED", "Successfully built c3d4"]
    assert screen.text == [*expected, "Successfully tagged app:1"]


def test_a_failed_step_keeps_all_of_its_output(screen: Screen) -> None:
    display = StepDisplay()
    take(display, "Step 1/1 : RUN make\n", *(f"line {number}\n" for number in range(9)), "\x1b[91mthe reason\x1b[0m")
    display.fail()
    display.close()
    assert screen.text == ["[1/1] RUN make  failed", *(f"line {number}" for number in range(9)), "the reason"]


def test_a_progress_bar_is_one_line(screen: Screen) -> None:
    """What a program draws over itself with carriage returns, and lines that are wider than the screen."""
    display = StepDisplay()
    take(display, "Step 1/1 : RUN " + "x" * 60 + "\n", "10%\r", "50%\r", "100%\n", "y" * 60 + "\n")
    assert screen.text == ["[1/1] RUN " + "x" * 30, "  100%", "  " + "y" * 38]
    display.take({"status": "Pulling fs layer", "id": "abc"})
    assert screen.text[-1] == "  abc: Pulling fs layer"


def test_plain_output_is_what_the_engine_says(screen: Screen) -> None:
    take(PlainDisplay(), "Step 1/1 : FROM busybox\n", "\x1b[91mloud\x1b[0m\n")
    assert screen.text == ["Step 1/1 : FROM busybox", "loud"]


@pytest.mark.parametrize("wanted", [True, False])
def test_no_color_holds(monkeypatch: pytest.MonkeyPatch, wanted: bool) -> None:
    told: list[str] = []
    monkeypatch.setattr(build_display, "write_out", told.append)
    monkeypatch.setattr(build_display, "environ", {} if wanted else {b"NO_COLOR": b"1"})
    display = StepDisplay()
    take(display, "Step 1/1 : RUN make", "\n", "line\n")
    display.fail()
    assert ("\x1b[2m" in "".join(told), "\x1b[31m" in "".join(told)) == (wanted, wanted)
