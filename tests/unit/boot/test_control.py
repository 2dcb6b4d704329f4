"""Control lines in any chunking; what is no request is skipped."""

from __future__ import annotations

import itertools
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.boot.control import ControlLines


@given(cuts=st.lists(st.integers(1, 60), max_size=8))
def test_requests_arrive_whole_in_any_chunking(cuts: list[int]) -> None:
    text = b'{"op":"status","id":1}\nnonsense\n[1]\n{"op":"time","id":2}\n'
    ours, theirs = socket.socketpair()
    lines = ControlLines(ours)
    found = []
    edges = [0, *sorted({min(cut, len(text)) for cut in cuts}), len(text)]
    for start, end in itertools.pairwise(edges):
        theirs.sendall(text[start:end])
        found += lines.receive()
    assert found == [{"op": "status", "id": 1}, {"op": "time", "id": 2}]
    theirs.close()
    with pytest.raises(EOFError):
        lines.receive()
    lines.close()


def test_what_nobody_reads_never_blocks() -> None:
    ours, theirs = socket.socketpair()
    lines = ControlLines(ours)
    for _number in range(10_000):
        lines.send({"event": "stage", "stage": "x" * 100})
    assert lines.receive() == []
    theirs.close()
    lines.close()
