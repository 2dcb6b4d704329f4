"""A build that ends in the middle of a thread's work: what the thread opens or walks outlasts it nowhere."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from guest_agent.build.copying import Attributes
from guest_agent.build.planning import PlannedStage
from guest_agent.build.selecting import select_everything
from guest_agent.build.trees import ContextTree, TreeReader, empty_tree
from guest_agent.engine import build_files, build_sources
from guest_agent.engine.build_results import BuildResult
from guest_agent.engine.build_roots import BuildRoot, keep_changes
from guest_agent.engine.build_session import BuildSession
from guest_agent.engine.build_sources import Batch, Origins
from guest_agent.engine.parts import Parts
from guest_agent.layers.measured import Measured
from guest_agent.layers.store import Staging
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerId
from tests.unit.held_work import Held


def test_an_archive_that_add_takes_apart_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    monkeypatch.setattr(build_sources, "_read_archive", held.after(build_sources._read_archive))
    tree = read_tar(tar_of("inner.tar", tar_of("file", b"content")), tmp_path)
    session = cast(BuildSession, SimpleNamespace(parts=parts_in(tmp_path)))
    origins = Origins(session, cast(PlannedStage, None))

    async def scenario() -> None:
        await held.cancel(origins.unpacked(Batch(tree, select_everything(tree), unpacks=True)))
        await origins.close()

    before = open_below(tmp_path)
    asyncio.run(scenario())
    assert before and open_below(tmp_path) == before
    tree.close()


def test_a_layers_folder_is_walked_by_nobody_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, aborted = Held(), list[object]()
    (tmp_path / "file").touch()
    measured = object()
    monkeypatch.setattr(Measured, "abort", aborted.append)

    def measure(folder: str) -> object:
        assert folder == str(tmp_path)
        return measured

    parts = cast(Parts, SimpleNamespace(layers=SimpleNamespace(measure=held.after(measure))))
    root = BuildRoot(ContainerId("0" * 64), "", str(tmp_path))

    async def scenario() -> None:
        await held.cancel(keep_changes(parts, root, cast(Staging, None)))
        assert aborted == [measured]

    asyncio.run(scenario())


def test_a_copy_of_a_million_files_ends_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def copy_many(*arguments: object) -> None:
        begun.set()
        unwanted = cast(Callable[[], bool], arguments[-1])
        while not unwanted():
            os.sched_yield()

    monkeypatch.setattr(build_files, "copy_selection", copy_many)
    batch = Batch(empty_tree(), select_everything(empty_tree()))

    async def scenario() -> None:
        copying = asyncio.ensure_future(build_files._write(batch, str(tmp_path), "/", Attributes()))
        await asyncio.to_thread(begun.wait)
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying

    asyncio.run(scenario())


def test_an_export_writes_into_nobody_elses_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader closes its descriptor only when the thread that writes to it has ended."""
    held, closed = Held(), list[bool]()
    monkeypatch.setattr(TreeReader, "feed", held.after(TreeReader.feed))
    monkeypatch.setattr(TreeReader, "close", closing(TreeReader.close, lambda: closed.append(held.go_on.is_set())))
    monkeypatch.setattr(BuildResult, "export", lambda _: pieces(tar_of("file", b"content"), []))
    asyncio.run(held.cancel(BuildResult(parts_in(tmp_path)).open()))
    assert closed == [True]


def test_an_export_that_fails_is_ended_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image's root is mounted until it is."""
    ended: list[str] = []
    exporting = pieces(b"no tar" * 1000, ended)
    monkeypatch.setattr(BuildResult, "export", lambda _: exporting)

    async def scenario() -> None:
        with pytest.raises(InvalidArgument):
            await BuildResult(parts_in(tmp_path)).open()
        assert ended == ["ended"]

    asyncio.run(scenario())


def closing(close: Callable[[TreeReader], None], tell: Callable[[], None]) -> Callable[[TreeReader], None]:
    def told(reader: TreeReader) -> None:
        tell()
        close(reader)

    return told


async def pieces(data: bytes, ended: list[str]) -> AsyncGenerator[bytes, None]:
    try:
        yield data
        yield b""
    finally:
        ended.append("ended")


def parts_in(folder: Path) -> Parts:
    return cast(Parts, SimpleNamespace(paths=SimpleNamespace(temporary=str(folder))))


def tar_of(name: str, content: bytes) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def read_tar(data: bytes, folder: Path) -> ContextTree:
    reader = TreeReader(str(folder))
    reader.feed(data)
    return reader.finish()


def open_below(folder: Path) -> list[str]:
    """The files that this process has open there, unlinked ones, too."""
    places = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    return sorted(place for place in places if place.startswith(f"{folder}/"))
