"""`build -o FOLDER`: an image's files stay in the folder, and nothing of the container stays behind."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from hostvm.cli.build_output import Output, export
from hostvm.cli.failure import Failure
from hostvm.cli.main import Context

Member = tuple[str, bytes, str | bytes]
Export = Callable[..., list[tuple[str, str]]]


class Engine:
    """Answers with one archive, and remembers what was asked."""

    def __init__(self, archive: bytes) -> None:
        self.asked: list[tuple[str, str]] = []
        self._archive = archive

    def call(self, method: str, path: str, _body: object = None) -> dict[str, str]:
        self.asked.append((method, path))
        return {"Id": "made"}

    def open(self, _method: str, _path: str) -> Engine:
        return self

    def chunks(self) -> Iterator[bytes]:
        yield self._archive


@pytest.fixture
def unpack(tmp_path: Path) -> Export:
    """Exports an image with the members to `out`."""

    def unpack(*members: Member) -> list[tuple[str, str]]:
        engine = Engine(tar_of(*members))
        export(
            cast(Context, SimpleNamespace(engine=engine)), "image", Output("local", str(tmp_path / "out")), keep=True
        )
        return engine.asked

    return unpack


def tar_of(*members: Member) -> bytes:
    """(name, type, a link's target or a file's content)."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, kind, what in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o777
            if isinstance(what, str):
                info.linkname = what
            else:
                info.size = len(what)
            archive.addfile(info, io.BytesIO(what) if isinstance(what, bytes) else None)
    return data.getvalue()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    file = tmp_path / "outside"
    file.write_text("kept")
    file.chmod(0o600)
    return file


def test_a_file_replaces_a_link(unpack: Export, outside: Path, tmp_path: Path) -> None:
    unpack(("x", tarfile.SYMTYPE, str(outside)), ("x", tarfile.REGTYPE, b"new"))
    assert outside.read_text() == "kept"
    assert (tmp_path / "out" / "x").read_text() == "new" and not (tmp_path / "out" / "x").is_symlink()


def test_a_folder_replaces_a_link(unpack: Export, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    unpack(("d", tarfile.SYMTYPE, "../elsewhere"), ("d", tarfile.DIRTYPE, ""), ("d/x", tarfile.REGTYPE, b"new"))
    assert not os.listdir(tmp_path / "elsewhere") and (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "out" / "d" / "x").read_text() == "new"


def test_a_hard_link_to_a_link_is_one_itself(unpack: Export, outside: Path, tmp_path: Path) -> None:
    unpack(("x", tarfile.SYMTYPE, str(outside)), ("y", tarfile.LNKTYPE, "x"))
    assert os.readlink(tmp_path / "out" / "y") == str(outside)
    assert outside.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "members",
    [
        [("x", tarfile.LNKTYPE, "../outside")],
        [("d", tarfile.SYMTYPE, ".."), ("d/outside", tarfile.REGTYPE, b"new")],
        [("d", tarfile.DIRTYPE, ""), ("..", tarfile.DIRTYPE, "")],
    ],
    ids=["hard link", "through a link", "the folder above"],
)
def test_what_leads_out_is_refused(unpack: Export, outside: Path, members: list[Member]) -> None:
    with pytest.raises(Failure, match="leads out of it"):
        unpack(*members)
    assert outside.read_text() == "kept" and outside.stat().st_mode & 0o777 == 0o600


def test_the_container_goes_with_its_volumes(unpack: Export) -> None:
    assert unpack()[-1] == ("DELETE", "/containers/made?force=1&v=1")
