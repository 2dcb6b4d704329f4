"""The rules of `cp` about paths; what docker 28.2.2 does for each pair was recorded with two fresh trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hostvm.cli.copy.paths import (
    End,
    Plan,
    absolute,
    check_output,
    find_destination,
    find_source,
    plan_copy,
    split,
    split_argument,
)
from hostvm.cli.failure import Failure


@pytest.mark.parametrize(
    ("argument", "ends"),
    [
        ("web:/etc", ("web", "/etc")), ("web:", ("web", "")), ("/a:b", ("", "/a:b")), ("./a:b", ("", "./a:b")),
        ("plain", ("", "plain")), ("-", ("", "-")), ("web:a:b", ("web", "a:b")), ("..:x", ("", "..:x")),
    ],
)  # fmt: skip
def test_arguments(argument: str, ends: tuple[str, str]) -> None:
    assert split_argument(argument) == ends


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/a/b", ("/a", "b")), ("/a/b/", ("/a", "b")), ("/a/b/.", ("/a/b", ".")), ("/", ("/", "/")), (".", (".", ".")),
        ("a", (".", "a")), ("/a/../c", ("/", "c")),
    ],
)  # fmt: skip
def test_split(path: str, parts: tuple[str, str]) -> None:
    assert split(path) == parts


def test_the_ending_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("a/") == f"{tmp_path}/a/"
    assert absolute("a/.") == f"{tmp_path}/a/."
    assert absolute("./a/../b") == f"{tmp_path}/b"


FOLDER, FILE = End("/src/dir", is_folder=True), End("/src/file")


@pytest.mark.parametrize(
    ("source", "destination", "plan"),
    [
        (FILE, End("/to/dir", is_folder=True), Plan("/to/dir")),
        (FOLDER, End("/to/dir/", is_folder=True), Plan("/to/dir/")),
        (FILE, End("/to/old"), Plan("/to", "file", "old")),
        (FOLDER, End("/to/new", exists=False), Plan("/to", "dir", "new")),
        (FOLDER, End("/to/new/", exists=False), Plan("/to", "dir", "new")),
        (End("/src/dir/.", is_folder=True), End("/to/new", exists=False), Plan("/to", ".", "new")),
        (End("/", is_folder=True), End("/to/new", exists=False), Plan("/to", "", "new")),
        (FILE._replace(rebase="link"), End("/to/new", exists=False), Plan("/to", "link", "new")),
    ],
)
def test_plans(source: End, destination: End, plan: Plan) -> None:
    assert plan_copy(source, destination) == plan


def test_what_can_t_be_planned() -> None:
    with pytest.raises(Failure, match="cannot copy directory"):
        plan_copy(FOLDER, End("/to/file"))
    with pytest.raises(Failure, match="no such directory"):
        plan_copy(FILE, End("/to/new/", exists=False))


def test_names_are_renamed_at_their_beginning() -> None:
    assert Plan("/to", "dir", "new").rename("dir/dir") == "new/dir"
    assert Plan("/to", ".", "new").rename("./a.b") == "new/a.b"
    assert Plan("/to", "", "new").rename("/etc") == "new/etc"
    assert Plan("/to").rename("dir/x") == "dir/x"


@pytest.fixture
def tree(tmp_path: Path) -> str:
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").write_text("x")
    for link, target in {"ldir": "dir", "lfile": "file", "broken": "nowhere", "far": f"{tmp_path}/dir/new"}.items():
        os.symlink(target, tmp_path / link)
    return str(tmp_path)


def test_sources(tree: str) -> None:
    assert find_source(f"{tree}/lfile", False) == End(f"{tree}/lfile")
    assert find_source(f"{tree}/ldir/", False) == End(f"{tree}/dir/", is_folder=True, rebase="ldir")
    assert find_source(f"{tree}/lfile", True) == End(f"{tree}/file", rebase="lfile")
    assert find_source(f"{tree}/ldir/.", False) == End(f"{tree}/dir/.", is_folder=True)
    with pytest.raises(Failure, match="not a directory"):
        find_source(f"{tree}/file/", False)
    with pytest.raises(FileNotFoundError):
        find_source(f"{tree}/missing", False)


def test_destinations(tree: str) -> None:
    assert find_destination(f"{tree}/ldir") == End(f"{tree}/dir", is_folder=True)
    assert find_destination(f"{tree}/broken") == End(f"{tree}/nowhere", exists=False)
    assert find_destination(f"{tree}/far") == End(f"{tree}/dir/new", exists=False)
    assert find_destination(f"{tree}/new/") == End(f"{tree}/new/", exists=False)
    with pytest.raises(Failure, match=r'directory ".*/no" does not exist'):
        check_output(f"{tree}/no/x")
    with pytest.raises(Failure, match="must be a directory or a regular file: got a device"):
        check_output("/dev/null")
