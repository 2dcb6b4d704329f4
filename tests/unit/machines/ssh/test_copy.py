"""Files both ways: names, modes, links, and a machine that isn't trusted."""

from __future__ import annotations

import os
from pathlib import Path

import paramiko
import pytest

from guest_agent.wire.errors import HostFailed, InvalidArgument, NotFound, PeerMisbehaved
from hostvm.machines.ssh.client import open_transport
from hostvm.machines.ssh.copy import Copier
from hostvm.machines.ssh.keys import KeyPair
from tests.unit.machines.ssh.ssh_server import serving


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "a tree"
    (folder / "inner").mkdir(parents=True)
    (folder / "script").write_text("#!/bin/sh\n")
    (folder / "script").chmod(0o755)
    os.utime(folder / "script", (1_000_000_000, 1_000_000_001))
    (folder / "inner" / "größe").write_bytes(b"\0" * 100_000)
    (folder / "link").symlink_to("inner/größe")
    return folder


def shape(folder: Path) -> dict[str, object]:
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def test_a_tree_goes_there_and_back(transport: paramiko.Transport, tree: Path, guest: Path, tmp_path: Path) -> None:
    Copier(transport).upload(str(tree), "/copy")
    assert shape(guest / "copy") == shape(tree)
    Copier(transport).download("/copy", str(tmp_path / "back"))
    assert shape(tmp_path / "back") == shape(tree)
    assert int((tmp_path / "back" / "script").stat().st_mtime) == 1_000_000_001


def test_a_folder_as_target_takes_it_in(transport: paramiko.Transport, tree: Path, guest: Path, tmp_path: Path) -> None:
    Copier(transport).upload(str(tree / "script"), "/")
    assert (guest / "script").read_text() == "#!/bin/sh\n"
    (tmp_path / "into").mkdir()
    Copier(transport).download("/script", str(tmp_path / "into"))
    assert (tmp_path / "into" / "script").stat().st_mode & 0o777 == 0o755


def test_again_over_what_is_there(transport: paramiko.Transport, tree: Path, guest: Path) -> None:
    Copier(transport).upload(str(tree), "/")
    (tree / "script").write_text("more")
    Copier(transport).upload(str(tree), "/")
    assert shape(guest / "a tree") == shape(tree)


@pytest.mark.parametrize(
    ("source", "target", "error", "text"),
    [
        ("none", "/x", NotFound, "none: no such file or folder"),
        ("a tree", "/none/", NotFound, "/none/: no such folder"),
        ("a tree", "/file", InvalidArgument, "/file is a file"),
        ("a tree/script", "/none/x", NotFound, "/none/x in the machine: no such file or folder"),
    ],
)
def test_what_cant_be_copied_is_named(
    transport: paramiko.Transport, tree: Path, guest: Path, source: str, target: str, error: type[Exception], text: str
) -> None:
    (guest / "file").write_text("")
    with pytest.raises(error, match=text):
        Copier(transport).upload(str(tree.parent / source), target)
    assert sorted(os.listdir(guest)) == ["file"]


def test_what_is_no_file_is_left_out_and_said(transport: paramiko.Transport, tree: Path, guest: Path) -> None:
    os.mkfifo(tree / "fifo")
    copier = Copier(transport)
    copier.upload(str(tree), "/copy")
    assert copier.skipped == [str(tree / "fifo")]
    assert not (guest / "copy" / "fifo").exists()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/b"])
def test_a_machine_cant_write_outside(
    host_key: KeyPair, user_key: KeyPair, guest: Path, tmp_path: Path, name: str
) -> None:
    (guest / "folder").mkdir()
    with serving(host_key, user_key, str(guest), lambda _path: [name]) as (stream, _):
        transport = open_transport(stream, "root", user_key, host_key, 10)
        with pytest.raises(PeerMisbehaved, match="lists a file by the name"):
            Copier(transport).download("/folder", str(tmp_path / "target"))
        transport.close()
    assert os.listdir(tmp_path / "target") == []


def test_a_link_of_an_earlier_copy_isnt_followed(transport: paramiko.Transport, guest: Path, tmp_path: Path) -> None:
    """The guest sends a link to a folder of the host's; at the next copy it sends a folder of the same name."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (guest / "folder").mkdir()
    (guest / "folder" / "name").symlink_to(outside)
    Copier(transport).download("/folder", str(tmp_path / "target"))
    (guest / "folder" / "name").unlink()
    (guest / "folder" / "name").mkdir()
    (guest / "folder" / "name" / "evil").write_text("")
    Copier(transport).download("/folder/.", str(tmp_path / "target"))
    assert os.listdir(outside) == []


def test_no_set_uid_bit_comes_from_a_machine(transport: paramiko.Transport, guest: Path, tmp_path: Path) -> None:
    (guest / "tool").write_text("")
    (guest / "tool").chmod(0o4755)
    Copier(transport).download("/tool", str(tmp_path / "tool"))
    assert (tmp_path / "tool").stat().st_mode & 0o7777 == 0o755


def test_a_host_folder_that_cant_be_written(transport: paramiko.Transport, guest: Path, tmp_path: Path) -> None:
    (guest / "file").write_text("x")
    (tmp_path / "file").write_text("")
    with pytest.raises((HostFailed, NotFound)):
        Copier(transport).download("/file", str(tmp_path / "file" / "below"))
