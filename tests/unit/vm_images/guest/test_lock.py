from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from guest_agent.wire.errors import DataDamaged, HostFailed, HostvmError, Unsupported
from vm_images.debian.locked import LockedPackage, Source
from vm_images.guest import contents
from vm_images.guest.lock import (
    LOCK,
    Lock,
    LockedArchitecture,
    choose_lock,
    encode_lock,
    parse_lock,
    read_lock,
    renewed_lock,
    replace_lock,
)
from vm_images.guest.renewal import ARCHITECTURES


def make_lock(*names: str, epoch: int = 1) -> Lock:
    packages = tuple(LockedPackage(name, "1", Source.ARCHIVE, f"pool/{name}", 1, "ab") for name in names)
    return Lock("bookworm", epoch, "20240101T000000Z", {"amd64": LockedArchitecture(names[0], packages)})


def test_it_reads_back() -> None:
    lock = make_lock("a", "b")
    assert parse_lock(encode_lock(lock)) == lock


def test_a_package_is_a_line() -> None:
    """A renewal is read as a diff."""
    lines = encode_lock(make_lock("b", "a")).splitlines()
    assert [line.split('"')[3] for line in lines if '"name"' in line] == ["a", "b"]


def test_the_repositorys_own_is_whole() -> None:
    lock = read_lock()
    assert set(lock.architectures) == set(ARCHITECTURES)
    assert lock.names() >= set(contents.NEEDED)
    for name, architecture in lock.architectures.items():
        assert architecture.kernel in {it.name for it in architecture.packages}
        assert architecture.kernel.endswith(f"-cloud-{name}")
        assert len(architecture.packages) == len(contents.NEEDED) + 1
        assert all(len(it.sha256) == 64 and it.size > 0 for it in architecture.packages)


def test_the_repositorys_own_is_written_as_we_write_it() -> None:
    assert Path(LOCK).read_text(encoding="utf-8") == encode_lock(read_lock())


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 2}', '{"format": 1, "suite": "x"}', "null"])
def test_a_damaged_one_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock.json"
    path.write_text(text)
    with pytest.raises(DataDamaged, match="cannot read the guest image's lock file"):
        read_lock(str(path))


def test_an_architecture_that_it_lacks() -> None:
    with pytest.raises(Unsupported, match="riscv64"):
        make_lock("a").of("riscv64")


def test_the_digest_is_of_one_architecture() -> None:
    lock = make_lock("a")
    more = replace(lock, architectures={**lock.architectures, "arm64": LockedArchitecture("k", ())})
    assert lock.digest("amd64") == more.digest("amd64") != make_lock("b").digest("amd64")


def test_it_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "lock.json")
    replace_lock(path, make_lock("a"))
    assert read_lock(path) == make_lock("a")
    (tmp_path / "file").write_text("")
    with pytest.raises(HostFailed, match="cannot write"):
        replace_lock(str(tmp_path / "file" / "lock.json"), make_lock("a"))


@pytest.mark.parametrize(
    ("renewed", "counts"),
    [
        (make_lock("a", "b", epoch=6), True),
        (make_lock("a", "b", "c", epoch=6), True),
        (make_lock("a", "b", "c", epoch=5), False),  # hostvm was upgraded since
        (make_lock("a", epoch=6), False),  # an upgrade needs more than it names
    ],
)
def test_a_users_renewal_counts_while_it_is_newer_and_whole(tmp_path: Path, renewed: Lock, counts: bool) -> None:
    own = str(tmp_path / "own.json")
    replace_lock(own, make_lock("a", "b", epoch=5))
    assert choose_lock(str(tmp_path), ["a", "b"], own) == make_lock("a", "b", epoch=5)
    replace_lock(renewed_lock(str(tmp_path)), renewed)
    assert (choose_lock(str(tmp_path), ["a", "b"], own) == renewed) is counts


def test_a_users_damaged_renewal_does_not_count(tmp_path: Path) -> None:
    replace_lock(renewed_lock(str(tmp_path)), make_lock("a"))
    Path(renewed_lock(str(tmp_path))).write_text("{")
    assert choose_lock(str(tmp_path), []) == read_lock()


def test_errors_have_a_hint(tmp_path: Path) -> None:
    with pytest.raises(HostvmError) as caught:
        read_lock(str(tmp_path / "none"))
    assert caught.value.hint
