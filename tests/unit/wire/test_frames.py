"""Frames come out whole and in order, however the stream was cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.wire import frames

FRAMES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=12)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` in pieces of these sizes, again and again."""
    pieces = []
    while data:
        for size in sizes:
            pieces.append(data[:size])
            data = data[size:]
    return pieces


@given(FRAMES, st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_any_chunking_gives_the_same_frames(sent: list[tuple[int, bytes]], sizes: list[int]) -> None:
    stream = b"".join(frames.encode(kind, payload) for kind, payload in sent)
    decoder = frames.FrameDecoder()
    received = [frame for piece in cut(stream, sizes) for frame in decoder.feed(piece)]
    assert received == sent
    assert decoder.pending == 0


@given(st.binary(min_size=1, max_size=64), st.data())
def test_an_unfinished_frame_is_pending(payload: bytes, data: st.DataObject) -> None:
    whole = frames.encode(frames.STDOUT, payload)
    length = data.draw(st.integers(1, len(whole) - 1))
    decoder = frames.FrameDecoder()
    assert decoder.feed(whole[:length]) == []
    assert decoder.pending == length


def test_a_header_is_dockers() -> None:
    """Docker Engine API, "Stream format": kind, three zero bytes, length as big-endian u32."""
    assert frames.encode(frames.STDERR, b"abc") == b"\x02\x00\x00\x00\x00\x00\x00\x03abc"
    assert frames.encode_header(frames.EXIT, 1 << 16) == b"\x07\x00\x00\x00\x00\x01\x00\x00"


def test_the_biggest_frame_passes_and_a_bigger_one_is_refused_at_its_header() -> None:
    decoder = frames.FrameDecoder()
    [(kind, payload)] = decoder.feed(frames.encode(frames.STDOUT, bytes(frames.MAX_PAYLOAD)))
    assert (kind, len(payload)) == (frames.STDOUT, frames.MAX_PAYLOAD)
    with pytest.raises(frames.FrameTooLarge):
        decoder.feed(frames.encode_header(frames.STDOUT, frames.MAX_PAYLOAD + 1))


def test_no_two_kinds_are_the_same() -> None:
    names = "STDIN STDOUT STDERR PROGRESS CREATED STARTED EXIT ERROR DETACHED STDIN_EOF RESIZE SIGNAL".split()
    assert len({getattr(frames, name) for name in names}) == len(names)
