"""Which part of a running process's output is in a log of lines."""

from guest_agent.engine.finished_lines import FinishedLines


def test_a_line_comes_when_it_is_complete() -> None:
    lines = FinishedLines()
    assert lines.of(1, b"a\nb") == b"a\n"
    assert lines.of(2, b"x\n") == b"x\n"
    assert lines.of(1, b"c") == b""
    assert lines.of(1, b"d\ne\nf") == b"bcd\ne\n"


def test_a_line_that_is_too_long_comes_in_pieces() -> None:
    lines = FinishedLines()
    assert lines.of(1, b"\n" + b"y" * 40_000) == b"\n" + b"y" * 32_768
    assert lines.of(1, b"z\n") == b"y" * 7_232 + b"z\n"
