"""The lock file of an image: who follows it makes the same image, whatever the archive has by then."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from guest_agent.wire.errors import Conflict, InvalidArgument, NotFound
from tests.unit.vm_images.conftest import Opener
from tests.unit.vm_images.small_archive import EPOCH, Silent, SmallArchive
from tests.unit.vm_images.test_build import MemoryHost
from vm_images.build import Builder
from vm_images.debian.download import Fetcher
from vm_images.debian.locked import Places
from vm_images.documents import write_document
from vm_images.package_lock import PackageLock, encode_lock, find_lock, parse_lock, plan_lock
from vm_images.pinned import PinnedArchive
from vm_images.recipes import Recipe
from vm_images.sbom import MEDIA_TYPE

RECIPE = Recipe("bookworm", ("nginx",))


@pytest.fixture
def archive(small: SmallArchive) -> SmallArchive:
    small.add("base-files", "Essential: yes\nPre-Depends: awk\n", {"etc/issue": b"Debian"})
    small.add("mawk", "Provides: awk (= 1.3)\n", {"usr/bin/mawk": b"mawk"})
    small.add("tzdata", "Priority: required\nConflicts: oldtz, base (<< 2)\nBreaks: x\n")
    small.add("apt", "Depends: gnupg | base-files (>= 1.0)\n")
    small.add("nginx", "Depends: libssl3 (>= 1.0), base-files\n")
    small.add("libssl3")
    small.publish()
    return small


def make(builder: Builder) -> None:
    builder.include("base:1", "web:1", RECIPE)


def lock_of(opened: Opener, progress: Silent) -> tuple[PackageLock, MemoryHost]:
    host, archive = MemoryHost(), opened()
    builder = Builder(archive, host, progress, thorough=True)
    make(builder)
    return plan_lock("bookworm", archive, builder.used.values()), host


def pinned(fetcher: Fetcher, lock: PackageLock, mirror: str) -> PinnedArchive:
    return PinnedArchive(fetcher, lock, Places((mirror,), (mirror,)))


def test_a_lock_is_read_as_it_was_written(archive: SmallArchive, opened: Opener, progress: Silent) -> None:
    lock, _ = lock_of(opened, progress)
    assert encode_lock(parse_lock(encode_lock(lock))) == encode_lock(lock)
    assert [package.name for package, _ in lock.packages] == ["apt", "base-files", "libssl3", "mawk", "nginx", "tzdata"]
    assert (lock.epoch, lock.snapshot) == (EPOCH, "20240101T000000Z")


def test_who_follows_it_makes_the_same_image(
    archive: SmallArchive, opened: Opener, fetcher: Fetcher, progress: Silent
) -> None:
    """Meanwhile the archive has newer packages, and one that would be preferred. The old one is had from elsewhere."""
    lock, first = lock_of(opened, progress)
    for name in ("nginx", "gnupg"):
        archive.add(name, version="2.0")
    archive.publish()
    second = MemoryHost()
    make(Builder(pinned(fetcher, parse_lock(encode_lock(lock)), archive.mirror), second, progress))
    assert second.images == first.images
    assert second.scripts == first.scripts
    assert second.created == first.created == [EPOCH]
    third = MemoryHost()
    make(Builder(opened(), third, progress))
    assert third.images != first.images


def test_what_is_in_no_mirror_any_more_is_named(
    archive: SmallArchive, opened: Opener, fetcher: Fetcher, progress: Silent
) -> None:
    lock, _ = lock_of(opened, progress)
    for package, _source in lock.packages:
        Path(fetcher.path(package.sha256)).unlink(missing_ok=True)
        os.unlink(f"{archive.root}/debian/{package.filename}")
    with pytest.raises(NotFound, match=r"the lock file is pinned to apt 1\.0"):
        make(Builder(pinned(fetcher, lock, archive.mirror), MemoryHost(), progress))


def test_a_package_that_the_lock_lacks(
    archive: SmallArchive, opened: Opener, fetcher: Fetcher, progress: Silent
) -> None:
    lock, _ = lock_of(opened, progress)
    builder = Builder(pinned(fetcher, lock, archive.mirror), MemoryHost(), progress)
    with pytest.raises(NotFound, match="no such Debian package: curl"):
        builder.include("base:1", "web:1", Recipe("bookworm", ("curl",)))


def test_each_image_has_its_packages_beside_it(archive: SmallArchive, opened: Opener, progress: Silent) -> None:
    _, host = lock_of(opened, progress)
    assert set(host.attached) == {("base:1", MEDIA_TYPE), ("web:1", MEDIA_TYPE)}
    document = json.loads(host.attached["web:1", MEDIA_TYPE])
    found = {it["name"]: it for it in document["packages"]}
    assert set(found) == {"web:1", "apt", "base-files", "libssl3", "mawk", "nginx", "tzdata"}
    assert found["nginx"]["versionInfo"] == "1.0"
    reference = found["nginx"]["externalRefs"][0]["referenceLocator"]
    assert reference == "pkg:deb/debian/nginx@1.0?arch=amd64&distro=bookworm"
    assert len(document["relationships"]) == 7
    assert document["creationInfo"]["created"] == "2024-01-01T00:00:00Z"


def test_lock_files(archive: SmallArchive, opened: Opener, progress: Silent, tmp_path: Path) -> None:
    path = str(tmp_path / "web.lock")
    assert find_lock("", "bookworm", "amd64") is None
    assert find_lock(path, "bookworm", "amd64") is None
    lock, _ = lock_of(opened, progress)
    write_document(path, encode_lock(lock).encode())
    assert find_lock(path, "bookworm", "amd64") == parse_lock(encode_lock(lock))
    with pytest.raises(Conflict, match="is for bookworm on amd64, not for trixie on arm64"):
        find_lock(path, "trixie", "arm64")


@pytest.mark.parametrize("text", ["", "{}", "Format: hostvm-packages-1\nRelease: x\n", "Format: 2\n\nPackage: a\n"])
def test_what_is_no_lock_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(text)
    with pytest.raises(InvalidArgument, match="cannot read the lock file"):
        find_lock(str(path), "bookworm", "amd64")
