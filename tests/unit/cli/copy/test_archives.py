"""A tree of this computer as a tar and back; and archives that want more than is theirs."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from hostvm.cli.copy.packing import pack
from hostvm.cli.copy.paths import find_source
from hostvm.cli.copy.unpacking import unpack
from hostvm.cli.failure import Failure


def same(name: str) -> str:
    return name


def test_there_and_back(tmp_path: Path) -> None:
    source = tmp_path / "dir"
    (source / "inner").mkdir(parents=True)
    (source / "a").write_bytes(b"x" * 1000)
    (source / "inner" / "run").write_text("#!")
    (source / "inner" / "run").chmod(0o755)
    os.link(source / "a", source / "b")
    os.symlink("../a", source / "inner" / "link")
    os.mkfifo(source / "pipe")
    for path in (source / "a", source / "inner"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    target = tmp_path / "out"
    target.mkdir()
    unpack(pack(find_source(str(source), False), same), str(target), lambda name: name.replace("dir", "new", 1))
    made = target / "new"
    assert (made / "a").read_bytes() == b"x" * 1000
    assert (made / "a").samefile(made / "b")
    assert os.readlink(made / "inner" / "link") == "../a"
    assert (made / "inner" / "run").stat().st_mode & 0o777 == 0o755
    assert {(made / name).stat().st_mtime for name in ("a", "inner")} == {1_700_000_000}
    assert (made / "pipe").is_fifo()


def test_contents_have_names_below_a_dot(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    data = b"".join(pack(find_source(f"{tmp_path}/.", False), same))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == [".", "./f"]


def tar_of(*members: tuple[str, bytes, str]) -> bytes:
    """Members (name, type, link)."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, kind, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            archive.addfile(info)
    return data.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        [("../out", tarfile.REGTYPE, "")],
        [("a/../../out", tarfile.REGTYPE, "")],
        [("link", tarfile.SYMTYPE, "/"), ("link/out", tarfile.REGTYPE, "")],
        [("link", tarfile.SYMTYPE, ".."), ("link/x/out", tarfile.DIRTYPE, "")],
        [("hard", tarfile.LNKTYPE, "../secret")],
    ],
)
def test_nothing_gets_out(members: list[tuple[str, bytes, str]], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(Failure):
        unpack(iter([tar_of(*members)]), str(folder), same)
    assert sorted(os.listdir(tmp_path)) == ["folder", "secret"]


def test_kinds_stay(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").write_text("x")

    def refused(name: str, kind: bytes) -> None:
        unpack(iter([tar_of((name, kind, ""))]), str(tmp_path), same)

    with pytest.raises(Failure, match=r'cannot overwrite directory ".*/dir" with non-directory'):
        refused("dir", tarfile.REGTYPE)
    with pytest.raises(Failure, match=r'cannot overwrite non-directory ".*/file" with directory'):
        refused("file", tarfile.DIRTYPE)


def test_what_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="the archive can't be read"):
        unpack(iter([b"nonsense" * 200]), str(tmp_path), same)


def test_a_hard_link_to_a_link_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    link = ("a", tarfile.SYMTYPE, str(tmp_path / "elsewhere"))
    archive = tar_of(link, ("b", tarfile.LNKTYPE, "a"), ("b/x", tarfile.REGTYPE, ""))
    with pytest.raises(Failure, match="leads through a link"):
        unpack(iter([archive]), str(tmp_path / "out"), same)
    assert not list((tmp_path / "elsewhere").iterdir())
