"""A repository as a context: only its own files, and no git that outlives the build."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import tarfile
from contextlib import aclosing
from pathlib import Path

import pytest

from guest_agent.wire import git_repository
from guest_agent.wire.errors import InvalidArgument, Unavailable
from guest_agent.wire.git_repository import fetch_repository
from tests.unit.endless_git import started as started


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    place = tmp_path / "repository"
    (place / "folder").mkdir(parents=True)
    (place / "folder" / "file").write_text("x")
    (place / "inner").symlink_to("folder")
    (place / "outer").symlink_to("/etc")
    author = ("-c", "user.name=n", "-c", "user.email=a@b")
    for words in (("init", "-q", "-b", "main"), ("add", "."), (*author, "commit", "-q", "-m", "m")):
        subprocess.run(["git", *words], cwd=place, check=True)
    return place


@pytest.fixture
def work(tmp_path: Path) -> Path:
    place = tmp_path / "work"
    place.mkdir()
    return place


async def fetch(remote: str, work: Path) -> bytes:
    async with aclosing(fetch_repository(remote, str(work))) as pieces:
        return b"".join([piece async for piece in pieces])


@pytest.mark.parametrize(
    ("fragment", "expected"),
    [
        ("", {".", "./folder", "./folder/file", "./inner", "./outer"}),
        ("#main:folder", {".", "./file"}),
        ("#main:/inner/", {".", "./file"}),
    ],
)
def test_a_folder_of_a_repository(repository: Path, work: Path, fragment: str, expected: set[str]) -> None:
    data = asyncio.run(fetch(f"{repository}{fragment}", work))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert set(archive.getnames()) == expected
    assert os.listdir(work) == []


@pytest.mark.parametrize("folder", ["../../../../../../../../etc", "outer", "folder/../..", "missing", "folder/file"])
def test_a_folder_outside_of_the_repository_is_refused(repository: Path, work: Path, folder: str) -> None:
    with pytest.raises(InvalidArgument, match="error setting"):
        asyncio.run(fetch(f"{repository}#main:{folder}", work))
    assert os.listdir(work) == []


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("fatal: could not read Username for 'https://h': terminal prompts disabled", "GIT_AUTH_TOKEN"),
        ("git@h: Permission denied (publickey).", "clone it"),
        ("Host key verification failed.", "clone it"),
        ("fatal: repository not found", ""),
    ],
)
def test_what_to_do_where_a_server_asks(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch, said: str, hint: str
) -> None:
    program = tmp_path / "git"
    program.write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 128\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(InvalidArgument, match="failed to fetch the repository") as raised:
        asyncio.run(fetch("git@h:r", work))
    assert said in raised.value.message and hint in raised.value.hint and bool(hint) == bool(raised.value.hint)


def test_a_cancelled_build_kills_git(started: Path, work: Path) -> None:
    async def cancel() -> int:
        fetching = asyncio.create_task(fetch("nowhere", work))
        pid = int(await asyncio.to_thread(started.read_text))
        fetching.cancel()
        await asyncio.wait([fetching])
        assert fetching.cancelled()
        return pid

    with pytest.raises(ProcessLookupError):
        os.kill(asyncio.run(cancel()), 0)
    assert os.listdir(work) == []


def test_git_has_a_deadline(started: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_repository, "_DEADLINE", 0.01)
    with pytest.raises(Unavailable, match="git init took too long"):
        asyncio.run(fetch("nowhere", work))
    assert os.listdir(work) == []
