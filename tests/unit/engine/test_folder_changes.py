"""A task that waits for a file hears of it, whichever way it is written, and of the folder's end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from guest_agent.engine.folder_changes import FolderChanges


def write(folder: Path) -> None:
    """As crun does."""
    (folder / "pid").write_text("7")


def put_in_place(folder: Path) -> None:
    """As runc does."""
    (folder / ".pid").touch()
    os.rename(folder / ".pid", folder / "pid")


@pytest.mark.parametrize("happen", [write, put_in_place, Path.rmdir])
def test_what_is_heard(tmp_path: Path, happen: Callable[[Path], None]) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"

    async def scenario() -> None:
        changes = FolderChanges()
        with changes.watched(str(elsewhere)) as other, changes.watched(str(here)) as changed:
            happen(here)
            async with asyncio.timeout(10):
                await changed.wait()
            assert not other.is_set()

    here.mkdir()
    elsewhere.mkdir()
    asyncio.run(scenario())


def test_a_folder_that_has_gone_and_one_that_nobody_waits_for_any_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        changes = FolderChanges()
        with pytest.raises(FileNotFoundError), changes.watched(str(tmp_path / "missing")):
            pass
        with changes.watched(str(tmp_path)) as before:
            pass
        with changes.watched(str(tmp_path)) as changed:
            write(tmp_path)
            async with asyncio.timeout(10):
                await changed.wait()
            assert not before.is_set()

    asyncio.run(scenario())
