"""Output as messages: a line each, long ones in pieces."""

from __future__ import annotations

from guest_agent.logs.messages import Message, MessageSplitter


def test_lines_of_two_streams() -> None:
    splitter = MessageSplitter()
    first = list(splitter.feed(False, 1, b"one\n\ntw"))
    assert first == [Message(False, 1, b"one"), Message(False, 1, b"")] and splitter.pending
    assert list(splitter.feed(True, 2, b"oops\n")) == [Message(True, 2, b"oops")]
    assert list(splitter.feed(False, 3, b"o\nrest")) == [Message(False, 1, b"two")]
    assert list(splitter.finish()) == [Message(False, 3, b"rest")] and not splitter.pending
    assert list(splitter.finish()) == []


def test_a_long_line_comes_in_pieces() -> None:
    splitter = MessageSplitter()
    data = b"x" * 40_000
    pieces = [*splitter.feed(False, 7, data[:30_000]), *splitter.feed(False, 8, data[30_000:] + b"\nnext\n")]
    *parts, after = pieces
    assert [len(piece.data) for piece in parts] == [16384, 16384, 7232]
    assert b"".join(piece.data for piece in parts) == data and {piece.time_ns for piece in parts} == {7}
    described = [piece.part for piece in parts if piece.part]
    assert [(part.ordinal, part.last) for part in described] == [(1, False), (2, False), (3, True)]
    assert len({part.id for part in described}) == 1
    assert after == Message(False, 8, b"next")
