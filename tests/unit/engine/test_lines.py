"""`logs`: lines come whole, in order, and as many as were asked for."""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest_agent.engine import segments
from guest_agent.engine.lines import LineSplitter, read_lines
from guest_agent.engine.output import STDERR, STDOUT, OutputLog
from guest_agent.engine.requests import LogLines, LogRequest

TEXT = st.text("ab\n\r", min_size=1, max_size=8).map(str.encode)
PIECES = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), TEXT), max_size=14)


class Clock:
    """Chunk n comes at n seconds."""

    def __init__(self) -> None:
        self.now = 0

    def time_ns(self) -> int:
        self.now += 1
        return self.now


def read(folder: str, pieces: list[tuple[int, bytes]], request: LogRequest) -> list[LogLines]:
    async def main() -> list[LogLines]:
        ended = asyncio.Event()
        ended.set()
        with closing(written(folder, pieces)) as log:
            return [line async for lines in read_lines(log, request, ended) for line in apart(lines)]

    return asyncio.run(main())


def apart(lines: LogLines) -> list[LogLines]:
    """Each line of a block by itself."""
    *whole, rest = lines.data.split(b"\n")
    texts = [text + b"\n" for text in whole] + ([rest] if rest else [])
    return [replace(lines, data=text) for text in texts]


def written(folder: str, pieces: list[tuple[int, bytes]]) -> OutputLog:
    log = OutputLog(folder)
    for stream, data in pieces:
        log.append(data, stream)
    return log


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "time", Clock())


@given(PIECES)
def test_lines_put_together_are_the_input(pieces: list[tuple[int, bytes]]) -> None:
    splitter = LineSplitter()
    lines = [line for number, (stream, data) in enumerate(pieces) for line in splitter.feed(stream, number, data)]
    assert all(line.data.endswith(b"\n") and line.begins for line in lines)
    lines += splitter.finish()
    for stream in (STDOUT, STDERR):
        said = b"".join(data for of, data in pieces if of == stream)
        assert b"".join(line.data for line in lines if line.stream == stream) == said


@settings(max_examples=150, deadline=None)
@given(PIECES, st.integers(0, 6), st.sampled_from([(True, True), (True, False), (False, True)]))
def test_the_tail_is_the_end_of_the_whole(
    pieces: list[tuple[int, bytes]], tail: int, streams: tuple[bool, bool]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stdout, stderr = streams
        whole = read(f"{folder}/a", pieces, LogRequest(stdout, stderr))
        last = read(f"{folder}/b", pieces, LogRequest(stdout, stderr, tail=tail))
        assert [(line.stream, line.data) for line in last] == [(one.stream, one.data) for one in whole][-tail or 9999 :]


@settings(max_examples=60, deadline=None)
@given(PIECES)
def test_follow_of_what_has_ended_is_the_same(pieces: list[tuple[int, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        streams = defaultdict[int, bytes](bytes)
        for line in read(folder, pieces, LogRequest(follow=True)):
            streams[line.stream] += line.data
        assert dict(streams) == {
            stream: said
            for stream in (STDOUT, STDERR)
            if (said := b"".join(data for of, data in pieces if of == stream))
        }


def test_since_and_until_go_by_the_beginning_of_a_line(tmp_path: Path) -> None:
    pieces = [(STDOUT, b"one\n"), (STDOUT, b"t"), (STDOUT, b"wo\n"), (STDOUT, b"three\n")]
    times = [line.time_ns for line in read(str(tmp_path / "a"), pieces, LogRequest(timestamps=True))]
    request = LogRequest(since_ns=times[1], until_ns=times[1])
    base = times[0]
    assert [time - base for time in times] == [0, 1, 3]
    segments.time.now = 0  # type: ignore[attr-defined]
    assert [line.data for line in read(str(tmp_path / "b"), pieces, request)] == [b"two\n"]


def test_follow_gets_what_comes_later_and_ends(tmp_path: Path) -> None:
    closed_at_end = ExitStack()

    async def main() -> list[bytes]:
        log, ended = written(str(tmp_path), [(STDOUT, b"old\nbeg")]), asyncio.Event()
        closed_at_end.callback(log.close)
        lines = read_lines(log, LogRequest(follow=True), ended)
        said = [(await anext(lines)).data]
        waiting = asyncio.ensure_future(anext(lines))
        await asyncio.sleep(0)
        log.append(b"un\n", STDOUT)
        said.append((await waiting).data)
        log.append(b"unfinished", STDERR)
        ended.set()
        log.notify()
        return said + [line.data async for line in lines]

    with closed_at_end:
        assert asyncio.run(main()) == [b"old\n", b"begun\n", b"unfinished"]


@settings(max_examples=100, deadline=None)
@given(PIECES, st.integers(0, 16), st.integers(0, 16), st.sampled_from([STDOUT, STDERR, 0]))
def test_times_choose_among_all_lines(pieces: list[tuple[int, bytes]], since: int, until: int, only: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        segments.time = clock  # type: ignore[attr-defined,assignment]
        streams = (only != STDERR, only != STDOUT)
        whole = read(f"{folder}/a", pieces, LogRequest(*streams, timestamps=True))
        clock.now = 0
        chosen = read(f"{folder}/b", pieces, LogRequest(*streams, since_ns=since, until_ns=until, timestamps=True))
        assert chosen == [line for line in whole if line.time_ns >= since and (not until or line.time_ns <= until)]


def test_a_line_without_end_isn_t_held_in_memory(tmp_path: Path) -> None:
    pieces = [(STDOUT, b"x" * 50_000) for _ in range(5)] + [(STDERR, b"y\n"), (STDOUT, b"end\nnext\n")]
    blocks = read(str(tmp_path), pieces, LogRequest(timestamps=True))
    assert max(len(block.data) for block in blocks) <= 150_000
    assert b"".join(block.data for block in blocks if block.stream == STDOUT) == b"x" * 250_000 + b"end\nnext\n"
    assert [block.begins for block in blocks if block.stream == STDOUT] == [True, False, False, True]
    segments.time.now = 0  # type: ignore[attr-defined]
    last = read(str(tmp_path / "b"), pieces, LogRequest(tail=1, stderr=False))
    assert [block.data for block in last] == [b"next\n"]


def test_others_have_their_turn_though_nothing_is_found(tmp_path: Path) -> None:
    """`logs --since 1m` of a container that had logged for days stopped the engine for half a minute."""
    requests = (
        LogRequest(since_ns=1 << 62),
        LogRequest(stdout=False),
        LogRequest(stdout=False, tail=9),
        LogRequest(tail=4000),
    )
    with closing(written(str(tmp_path), [(STDOUT, b"x\n")] * 20_000)) as log:
        assert all(asyncio.run(turns_of_others(log, request)) > 2 for request in requests)


async def turns_of_others(log: OutputLog, request: LogRequest) -> int:
    """Until the first lines are found, or none."""
    turns, ended = 0, asyncio.Event()
    ended.set()

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(others())
    await asyncio.sleep(0)
    async for _lines in read_lines(log, request, ended):
        break
    running.cancel()
    return turns
