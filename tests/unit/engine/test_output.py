"""Output on disk: nothing is lost and nothing comes twice, at whatever moment an engine is killed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest_agent.engine.output import ENTRY_SIZE, STDERR, STDOUT, Chunk, Limits, OutputLog, Position

PIECES = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(min_size=1, max_size=30)), max_size=12)


def splice(log: OutputLog, stream: int, data: bytes) -> None:
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    moved = True
    while moved:
        outcome = log.plan_move(reader, stream).perform()
        log.moved(stream, outcome)
        moved = bool(outcome.length)
    os.close(reader)


def content(log: OutputLog) -> list[tuple[int, bytes]]:
    return [(chunk.stream, log.read(chunk)) for chunk in log.chunks(Position(0, 0, 0), 10_000)]


def joined(pieces: list[tuple[int, bytes]]) -> dict[int, bytes]:
    return {stream: b"".join(data for of, data in pieces if of == stream) for stream in (STDOUT, STDERR)}


@settings(max_examples=40, deadline=None)
@given(PIECES, st.integers(0, 3 * ENTRY_SIZE))
def test_killed_between_splice_and_index(pieces: list[tuple[int, bytes]], lost: int) -> None:
    """The index is cut off anywhere, also within an entry; what it doesn't tell of is found by the files' sizes."""
    with tempfile.TemporaryDirectory() as folder:
        log = OutputLog(folder)
        for stream, data in pieces:
            splice(log, stream, data)
        assert content(log) == pieces
        log.close()
        index = Path(folder, "index")
        if index.exists():
            os.truncate(index, max(0, index.stat().st_size - lost))
        successor = OutputLog(folder)
        assert joined(content(successor)) == joined(pieces)
        splice(successor, STDOUT, b"more")
        assert joined(content(OutputLog(folder))) == joined([*pieces, (STDOUT, b"more")])
        successor.close()


@settings(max_examples=40, deadline=None)
@given(PIECES, st.integers(1, 5))
def test_forwards_and_backwards_see_the_same(pieces: list[tuple[int, bytes]], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = OutputLog(folder)
        for stream, data in pieces:
            log.append(data, stream)
        forwards = walk_forwards(log, limit)
        assert forwards == walk_backwards(log, limit)[::-1]
        assert [(chunk.stream, log.read(chunk)) for chunk in forwards] == pieces
        log.close()


def walk_forwards(log: OutputLog, limit: int) -> list[Chunk]:
    position, walked = Position(0, 0, 0), list[Chunk]()
    while chunks := log.chunks(position, limit):
        for chunk in chunks:
            position.pass_over(chunk)
        walked += chunks
    assert position == log.snapshot()
    return walked


def walk_backwards(log: OutputLog, limit: int) -> list[Chunk]:
    position, walked = log.snapshot(), list[Chunk]()
    while chunks := log.chunks_before(position, limit):
        for chunk in chunks:
            before = {STDOUT: position.stdout, STDERR: position.stderr, chunk.stream: chunk.offset}
            position = Position(position.entries - 1, before[STDOUT], before[STDERR])
        walked += chunks
    return walked


def test_a_silent_container_has_no_files(tmp_path: Path) -> None:
    log = OutputLog(str(tmp_path / "logs"))
    assert log.chunks(log.snapshot()) == [] == log.chunks_before(log.snapshot())
    assert not (tmp_path / "logs").exists()


def test_a_full_disk_drops_bytes_and_the_container_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_named: object) -> int:
        raise OSError(28, "No space left on device")

    log = OutputLog(str(tmp_path))
    splice(log, STDOUT, b"before ")
    with monkeypatch.context() as patch:
        patch.setattr(os, "splice", full)
        patch.setattr(os, "pwrite", full)
        splice(log, STDOUT, b"dropped")
        log.append(b"dropped", STDERR)
    splice(log, STDOUT, b"after")
    assert content(log) == [(STDOUT, b"before "), (STDOUT, b"after")]
    assert content(OutputLog(str(tmp_path))) == content(log)


def test_bytes_whose_index_found_no_room_come_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The splice succeeds, the index entry doesn't; then shorter output comes, and the engine is killed."""

    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    log = OutputLog(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        splice(log, STDOUT, b"long and never indexed")
    splice(log, STDOUT, b"short")
    assert content(log) == [(STDOUT, b"short")]
    log.close()
    assert content(OutputLog(str(tmp_path))) == [(STDOUT, b"short")]


def test_listeners_hear_of_each_chunk(tmp_path: Path) -> None:
    log, heard = OutputLog(str(tmp_path)), list[int]()
    listener = lambda: heard.append(log.snapshot().entries)  # noqa: E731
    log.listen(listener)
    log.append(b"a", STDOUT)
    log.append(b"b", STDERR)
    log.unlisten(listener)
    log.append(b"c", STDOUT)
    assert heard == [1, 2]
    log.close()


def test_who_reads_still_gets_the_rest_of_a_log_that_is_removed(tmp_path: Path) -> None:
    """`run --rm` of something talkative: the container is gone before a slow client has read everything."""
    folder = tmp_path / "logs"
    log = OutputLog(str(folder))
    splice(log, STDOUT, b"the rest")
    listener = lambda: None  # noqa: E731
    log.listen(listener)
    log.close()
    folder.rename(tmp_path / "grave")
    assert content(log) == [(STDOUT, b"the rest")]
    log.unlisten(listener)
    assert all(not segment._files for segment in log._segments) and not folder.exists()


def test_an_index_that_ends_in_zeros_after_a_power_cut(tmp_path: Path) -> None:
    """ext4 may grow a file before its blocks are written: zeros at the end are no chunks."""
    log = OutputLog(str(tmp_path / "logs"))
    log.append(b"one\n", STDOUT)
    log.close()
    with open(tmp_path / "logs" / "index", "ab") as index:
        index.write(bytes(3 * ENTRY_SIZE))
    recovered = OutputLog(str(tmp_path / "logs"))
    assert [recovered.read(chunk) for chunk in recovered.chunks(Position(0, 0, 0))] == [b"one\n"]
    recovered.append(b"two\n", STDERR)
    assert [recovered.read(chunk) for chunk in recovered.chunks(Position(0, 0, 0))] == [b"one\n", b"two\n"]


def test_an_index_that_tells_of_bytes_that_never_came_to_the_disk(tmp_path: Path) -> None:
    log = OutputLog(str(tmp_path / "logs"))
    log.append(b"one\n", STDOUT)
    log.append(b"two\n", STDOUT)
    log.close()
    os.truncate(tmp_path / "logs" / "stdout", 4)
    recovered = OutputLog(str(tmp_path / "logs"))
    assert [recovered.read(chunk) for chunk in recovered.chunks(Position(0, 0, 0))] == [b"one\n"]


@settings(max_examples=60, deadline=None)
@given(PIECES, st.integers(40, 120), st.integers(1, 3), st.booleans())
def test_a_limited_log_has_the_end_of_what_was_printed(
    pieces: list[tuple[int, bytes]], size: int, count: int, spliced: bool
) -> None:
    """Each stream is a tail of what came, also for a successor; forwards and backwards agree; the disk is bounded."""
    with tempfile.TemporaryDirectory() as folder:
        log = OutputLog(folder, Limits(size, count))
        for stream, data in pieces:
            if spliced:
                splice(log, stream, data)
            else:
                log.append(data, stream)
        kept = joined(content_of_all(log))
        for stream, data in joined(pieces).items():
            assert data.endswith(kept[stream])
        assert walk_backwards(log, 2)[::-1] == walk_from_start(log, 3)
        assert sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) <= count * (size + 64)
        log.close()
        successor = OutputLog(folder, Limits(size, count))
        assert joined(content_of_all(successor)) == kept and successor.snapshot() == log.snapshot()
        successor.close()


def walk_from_start(log: OutputLog, limit: int) -> list[Chunk]:
    position, walked = Position(0, 0, 0), list[Chunk]()
    while chunks := log.chunks(position, limit):
        for chunk in chunks:
            position.pass_over(chunk)
        walked += chunks
    return walked


def content_of_all(log: OutputLog) -> list[tuple[int, bytes]]:
    return [(chunk.stream, log.read(chunk)) for chunk in walk_from_start(log, 100)]


def test_who_must_miss_nothing_holds_what_he_has_not_read(tmp_path: Path) -> None:
    """`run --log-driver none db dump > file`: the buffer is small, the client may be slow, and no byte may be lost."""
    log = OutputLog(str(tmp_path), Limits(50, 1))
    position = log.snapshot()
    log.hold(position)
    for number in range(20):
        splice(log, STDOUT, b"%02d" % number * 5)
    read = b""
    while chunks := log.chunks(position, 1):
        read += log.read(chunks[0])
        position.pass_over(chunks[0])
    assert read == b"".join(b"%02d" % number * 5 for number in range(20))
    log.release(position)
    splice(log, STDOUT, b"and on")
    assert content_of_all(log) == [] == log.chunks_before(log.snapshot())
    log.close()
