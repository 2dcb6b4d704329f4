"""Blocks of lines as `logs` sends them: a frame a line, a time before each."""

from __future__ import annotations

from guest_agent.api.streams import frame, frame_lines, with_prefix
from guest_agent.engine.requests import LogLines


def test_each_line_has_its_frame() -> None:
    assert frame_lines(2, b"one\n\nlast") == frame(2, b"one\n") + frame(2, b"\n") + frame(2, b"last")
    assert frame_lines(1, b"one\n") == frame(1, b"one\n")
    assert frame_lines(1, b"") == b""


def test_a_prefix_stands_where_a_line_begins() -> None:
    assert with_prefix(LogLines(1, 0, b"one\ntwo\n"), b"> ") == b"> one\n> two\n"
    assert with_prefix(LogLines(1, 0, b"one\ntw"), b"> ") == b"> one\n> tw"
    assert with_prefix(LogLines(1, 0, b"o\nthree\n", begins=False), b"> ") == b"o\n> three\n"
    assert with_prefix(LogLines(1, 0, b"\n"), b"> ") == b"> \n"
