"""Volumes: their records, their folders, and who may take them away."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from guest_agent.store.paths import EnginePaths
from guest_agent.store.records import Records
from guest_agent.volumes.local_mounts import MountPlan
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


# -- fills


def test_fills_at_once_are_one_after_the_other(shelf: Shelf, tmp_path: Path) -> None:
    """`compose up` makes several containers of one new volume at once."""
    for number in range(50):
        (tmp_path / "root" / "data").mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / "data" / f"file{number}").write_text("content")
    made = shelf.volumes.create("data")

    async def main() -> None:
        await asyncio.gather(*(shelf.volumes.fill("data", str(tmp_path / "root"), "/data") for _ in range(4)))

    asyncio.run(main())
    assert len(os.listdir(made.mountpoint)) == 50
    assert os.listdir(os.path.dirname(made.mountpoint)) == ["_data"]


# -- volumes with a file system of their own


class Kernel:
    """What is mounted, instead of the kernel; a mount waits until `answer` is set."""

    def __init__(self) -> None:
        self.mounted: list[str] = []
        self.asked = threading.Event()
        self.answer = threading.Event()
        self.answer.set()

    def perform(self, plan: MountPlan, target: str, find_source: Callable[[str], str | None]) -> None:
        self.asked.set()
        self.answer.wait()
        self.mounted.append(target)

    def umount_if_mounted(self, target: str) -> bool:
        was_mounted = target in self.mounted
        if was_mounted:
            self.mounted.remove(target)
        return was_mounted


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    fake = Kernel()
    monkeypatch.setattr("guest_agent.volumes.store.perform", fake.perform)
    monkeypatch.setattr("guest_agent.volumes.store.umount_if_mounted", fake.umount_if_mounted)
    return fake


def no_source(path: str) -> str | None:
    return None


def test_it_is_mounted_as_long_as_somebody_holds_it(shelf: Shelf, kernel: Kernel) -> None:
    """A container that is being started holds it, too, though it doesn't run yet: another's end left it without."""
    made = shelf.volumes.create("data", options=OPTIONS)

    async def main() -> None:
        await shelf.volumes.hold(made, "ending", no_source)
        await shelf.volumes.hold(made, "starting", no_source)
        await shelf.volumes.let_go(made, "ending")
        await shelf.volumes.let_go(made, "ending")
        assert kernel.mounted == [made.mountpoint]
        await shelf.volumes.let_go(made, "starting")
        assert kernel.mounted == []

    asyncio.run(main())


def test_a_server_that_does_not_answer_stops_nothing_else(shelf: Shelf, kernel: Kernel) -> None:
    """And who lets go before the mount is done leaves nothing mounted."""
    made = shelf.volumes.create("data", options=OPTIONS)
    kernel.answer.clear()

    async def main() -> None:
        holding = asyncio.create_task(shelf.volumes.hold(made, "one", no_source))
        await asyncio.to_thread(kernel.asked.wait)
        letting_go = asyncio.create_task(shelf.volumes.let_go(made, "one"))
        await asyncio.sleep(0)
        kernel.answer.set()
        await asyncio.gather(holding, letting_go)

    asyncio.run(main())
    assert kernel.mounted == []


def test_what_an_earlier_engine_left_mounted(shelf: Shelf, kernel: Kernel) -> None:
    used, unused = (shelf.volumes.create(name, options=OPTIONS) for name in ("used", "unused"))
    kernel.mounted = [used.mountpoint, unused.mountpoint]
    shelf.volumes.settle([("used", "one"), ("used", "two")])
    assert kernel.mounted == [used.mountpoint]

    async def main() -> None:
        await shelf.volumes.let_go(used, "one")
        assert kernel.mounted == [used.mountpoint]
        await shelf.volumes.let_go(used, "two")

    asyncio.run(main())
    assert kernel.mounted == []
