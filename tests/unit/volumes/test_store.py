"""Volumes: their records, their folders, and who may take them away."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from guest_agent.store.paths import EnginePaths
from guest_agent.store.records import Records
from guest_agent.volumes.store import Volumes
from guest_agent.wire.errors import Conflict, HostvmError, InvalidArgument, NotFound
from guest_agent.wire.mounts import Volume

OPTIONS = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}


class Shelf:
    """Volumes below a temporary folder, and the containers that are said to use them."""

    def __init__(self, folder: Path) -> None:
        self.users: dict[str, list[str]] = {}
        self.told: list[tuple[str, str]] = []
        self.paths = EnginePaths(str(folder), str(folder / "run"))
        os.makedirs(self.paths.temporary)
        self.records = Records(str(folder / "engine.db"), str(folder / "set-aside"))
        self.volumes = Volumes(
            self.records, self.paths, lambda name: self.users.get(name, []), shutil.rmtree, self._hear
        )

    def _hear(self, volume: Volume, action: str) -> None:
        self.told.append((action, volume.name))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_a_new_volume_is_a_folder_and_a_record(shelf: Shelf) -> None:
    made = shelf.volumes.create("data", labels={"a": "b"}, options=OPTIONS)
    assert made == shelf.volumes.find("data")
    assert (made.labels, made.options, made.driver, made.anonymous) == ({"a": "b"}, OPTIONS, "local", False)
    assert made.mountpoint == shelf.paths.volume("data") and os.path.isdir(made.mountpoint)


def test_the_same_name_is_the_same_volume(shelf: Shelf) -> None:
    first = shelf.volumes.create("data")
    Path(first.mountpoint, "file").write_text("kept")
    assert shelf.volumes.create("data", labels={"too": "late"}) == first
    assert Path(first.mountpoint, "file").read_text() == "kept"


def test_a_folder_that_was_lost_is_made_again(shelf: Shelf) -> None:
    """The engine may have been killed between the record and the folder."""
    made = shelf.volumes.create("data")
    os.rmdir(made.mountpoint)
    shelf.volumes.create("data")
    assert os.path.isdir(made.mountpoint)


def test_anonymous_names_are_64_digits_and_all_different(shelf: Shelf) -> None:
    names = {shelf.volumes.create("").name for _ in range(20)}
    assert len(names) == 20 and all(len(name) == 64 for name in names)


def test_the_list_is_by_name(shelf: Shelf) -> None:
    for name in ("bb", "cc", "aa"):
        shelf.volumes.create(name)
    assert [volume.name for volume in shelf.volumes.list()] == ["aa", "bb", "cc"]


@pytest.mark.parametrize("name", ["../up", "a/b", "-a", "a b", "a\n", ".hidden", "ü2"])
def test_names_that_are_none(shelf: Shelf, name: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid characters"):
        shelf.volumes.create(name)
    assert shelf.volumes.list() == ()


def test_a_name_too_long_for_a_folder_leaves_no_record(shelf: Shelf) -> None:
    with pytest.raises(HostvmError):
        shelf.volumes.create("a" * 300)
    assert shelf.volumes.list() == ()


def test_another_driver_is_unsupported(shelf: Shelf) -> None:
    with pytest.raises(NotFound, match='plugin "nfs" not found'):
        shelf.volumes.create("data", driver="nfs")


def test_remove(shelf: Shelf) -> None:
    made = shelf.volumes.create("data")
    Path(made.mountpoint, "file").write_text("gone")
    shelf.volumes.remove("data")
    assert not os.path.exists(os.path.dirname(made.mountpoint))
    with pytest.raises(NotFound, match="get data: no such volume"):
        shelf.volumes.remove("data")
    shelf.volumes.remove("data", force=True)


def test_a_volume_in_use_stays(shelf: Shelf) -> None:
    shelf.volumes.create("data")
    shelf.users["data"] = ["0123456789ab", "ba9876543210"]
    with pytest.raises(Conflict, match=r"volume is in use - \[0123456789ab, ba9876543210\]"):
        shelf.volumes.remove("data", force=True)
    assert shelf.volumes.find("data")
