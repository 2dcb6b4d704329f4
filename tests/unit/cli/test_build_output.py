"""`build -o FOLDER`: the files stay in the folder."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from guest_agent.wire.errors import PeerMisbehaved
from hostvm.cli.build_output import Output, export, parse_output
from hostvm.cli.build_report import Report
from hostvm.cli.failure import Failure
from hostvm.cli.main import Context
from hostvm.client import connection as client
from hostvm.client.http import ProtocolError

Member = tuple[str, bytes, str | bytes]
Export = Callable[..., None]
#: What stands before the files.
FOLLOWS = b'{"stream":"Step"}\n{"files":"tar"}\n'


class Answer:
    """A body in pieces of seven bytes; `breaks` in the middle."""

    def __init__(self, body: bytes, breaks: bool = False) -> None:
        self._body, self._breaks = body, breaks

    def chunks(self) -> Iterator[bytes]:
        yield from (self._body[start : start + 7] for start in range(0, len(self._body), 7))
        if self._breaks:
            raise ProtocolError("the answer ended too early")


def report_of(body: bytes, breaks: bool = False) -> Report:
    return Report(cast(client.Answer, Answer(body, breaks)))


@pytest.fixture
def unpack(tmp_path: Path) -> Export:
    """Exports a build of the members to `out`."""

    def unpack(*members: Member) -> None:
        report = report_of(FOLLOWS + tar_of(*members))
        assert list(report.lines()) == [{"stream": "Step"}]
        export(cast(Context, None), "image", report, Output("local", str(tmp_path / "out")))

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


def test_a_build_for_no_files_has_none() -> None:
    report = report_of(b'{"aux":{"ID":"1"}}\n{"stream":"Successfully"}\n')
    assert list(report.lines()) == [{"aux": {"ID": "1"}}, {"stream": "Successfully"}]
    assert list(report.files()) == []


def test_files_that_break_off(tmp_path: Path) -> None:
    report = report_of(FOLLOWS + b"\0" * 100, breaks=True)
    assert len(list(report.lines())) == 1
    with pytest.raises(PeerMisbehaved, match="couldn't send all files"):
        export(cast(Context, None), "image", report, Output("tar", str(tmp_path / "out")))


def test_outputs_that_are_none_of_ours() -> None:
    assert parse_output("type=image,name=x") is None
    for text in ("type=image,name=x,push=true", "type=oci", "type=oci,dest=x", "type=nonsense"):
        with pytest.raises(Failure, match="unsupported output"):
            parse_output(text)


@pytest.mark.skipif(os.geteuid() != 0, reason="others can't give a file away anyhow")
def test_what_is_unpacked_is_the_users(tmp_path: Path) -> None:
    """As with buildx, root's files are root's, whoever they belong to inside of the image."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        member = tarfile.TarInfo("file")
        member.uid, member.gid, member.mode = 7, 8, 0o4711
        archive.addfile(member)
    report = report_of(FOLLOWS + data.getvalue())
    list(report.lines())
    export(cast(Context, None), "image", report, Output("local", str(tmp_path)))
    status = os.stat(tmp_path / "file")
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 0, 0o4711)
