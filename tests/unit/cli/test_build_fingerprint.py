"""A context's fingerprint: the same only as long as every file that would be sent is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hostvm.cli import build_fingerprint
from hostvm.cli.build_context import Context
from hostvm.cli.build_fingerprint import fingerprint

HOUR = 3600 * 10**9


@pytest.fixture(autouse=True)
def an_hour_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests write has settled."""
    monkeypatch.setattr(build_fingerprint, "time_ns", lambda: time.time_ns() + HOUR)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_text("one")
    (tmp_path / "link").symlink_to("inner")
    (tmp_path / ".dockerignore").write_text("ignored\n")
    (tmp_path / "ignored").write_text("one")
    return tmp_path


def known(folder: Path) -> str:
    return fingerprint(Context(str(folder), str(folder / ".dockerignore"), (".dockerignore",)))


def write_later(path: Path, text: str) -> None:
    """Another content with the size and the mtime of the one before; the kernel's clock has gone on."""
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        path.write_text(text)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_link(folder: Path) -> None:
    (folder / "other").symlink_to("other")
    os.replace(folder / "other", folder / "link")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: write_later(folder / "inner" / "file", "two"),
        lambda folder: (folder / "inner" / "file").chmod(0o600),
        lambda folder: (folder / "inner").chmod(0o700),
        lambda folder: (folder / "inner" / "file").rename(folder / "inner" / "name"),
        lambda folder: (folder / "inner" / "empty").mkdir(),
        replace_link,
        lambda folder: (folder / ".dockerignore").write_text("inner\n"),
    ],
)
def test_a_change_shows(folder: Path, change: Callable[[Path], object]) -> None:
    before = known(folder)
    change(folder)
    assert before and known(folder) and known(folder) != before


def test_what_isnt_sent_doesnt_count(folder: Path) -> None:
    before = known(folder)
    (folder / "ignored").write_text("another")
    assert known(folder) == before


def test_the_same_files_elsewhere_are_others(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = known(folder)
    assert known(folder.rename(tmp_path_factory.mktemp("elsewhere") / "folder")) != before


def test_what_was_changed_just_now_is_not_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second change within the clock's tick would leave all times as they are; nor is a time that will come one."""
    os.utime(folder / "inner" / "file", ns=(0, time.time_ns() + 2 * HOUR))
    assert known(folder) == ""
    os.utime(folder / "inner" / "file", ns=(0, 0))
    assert known(folder)
    monkeypatch.setattr(build_fingerprint, "time_ns", time.time_ns)
    assert known(folder) == ""
