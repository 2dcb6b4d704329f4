from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from guest_agent.wire.errors import HostvmError, NotFound, PeerMisbehaved
from tests.unit.vm_images.small_archive import EPOCH, Silent, SmallArchive
from vm_images.debian.archive import Trust
from vm_images.debian.download import Fetcher
from vm_images.debian.locked import Source
from vm_images.debian.repositories import Repository
from vm_images.guest.contents import NEEDED, PACKAGES
from vm_images.guest.lock import Lock, read_lock
from vm_images.guest.renewal import Origin, update_lock

_WHEELS = ("cp310-cp310-manylinux_2_17_x86_64", "cp311-cp311-musllinux_1_2_x86_64", "cp311-cp311-manylinux_2_17_x86_64")


@pytest.fixture
def full(small: SmallArchive) -> SmallArchive:
    for name in PACKAGES:
        small.add(name)
    for version in ("6.12.9+deb12", "6.12.10+deb12"):
        small.add(f"linux-image-{version}-cloud-amd64", version=version)
    small.add("linux-image-6.12.99+deb12-cloud-amd64-unsigned", version="6.12.99+deb12")
    return small


def publish_wheels(root: str, wheels: tuple[str, ...] = _WHEELS) -> str:
    folder = Path(root) / "pypi" / "isal"
    folder.mkdir(parents=True)
    urls = [
        {"url": f"https://files.example/packages/ab/isal-1.9-{it}.whl", "size": 5, "digests": {"sha256": "cd"}}
        for it in wheels
    ]
    (folder / "json").write_text(json.dumps({"info": {"name": "isal", "version": "1.9"}, "urls": urls}))
    return f"file://{root}"


def renew(small: SmallArchive, fetcher: Fetcher, path: Path, pypi: str) -> Lock:
    trust = Trust(f"{small.gnupg}/keyring.gpg")
    origin = Origin([Repository(small.mirror, "bookworm")], trust, pypi, ("amd64",))
    return update_lock(fetcher, origin, Silent(), str(path))


def test_it_pins_what_the_signed_lists_have(full: SmallArchive, fetcher: Fetcher, tmp_path: Path) -> None:
    full.publish()
    lock = renew(full, fetcher, tmp_path / "lock.json", publish_wheels(str(tmp_path)))
    assert lock == read_lock(str(tmp_path / "lock.json"))
    assert (lock.epoch, lock.snapshot) == (EPOCH, "20240101T000000Z")
    assert lock.names() == {*NEEDED, "linux-image-6.12.10+deb12-cloud-amd64"}
    locked = lock.of("amd64")
    assert locked.kernel == "linux-image-6.12.10+deb12-cloud-amd64"
    wheel = next(it for it in locked.packages if it.source is Source.PYPI)
    assert wheel.path == "packages/ab/isal-1.9-cp311-cp311-manylinux_2_17_x86_64.whl"


def test_a_forged_list_changes_nothing(full: SmallArchive, fetcher: Fetcher, tmp_path: Path) -> None:
    full.publish()
    release = Path(full.suite) / "InRelease"
    release.write_text(release.read_text().replace("Origin: Debian", "Origin: Forger"))
    with pytest.raises(PeerMisbehaved, match="signature"):
        renew(full, fetcher, tmp_path / "lock.json", publish_wheels(str(tmp_path)))
    assert not (tmp_path / "lock.json").exists()


def test_security_updates_are_known_by_their_suite(full: SmallArchive, fetcher: Fetcher, tmp_path: Path) -> None:
    full.codename = "bookworm-security"
    full.publish()
    trust = Trust(f"{full.gnupg}/keyring.gpg")
    origin = Origin([Repository(full.mirror, "bookworm-security")], trust, publish_wheels(str(tmp_path)), ("amd64",))
    lock = update_lock(fetcher, origin, Silent(), str(tmp_path / "lock.json"))
    assert {it.source for it in lock.of("amd64").packages} == {Source.SECURITY, Source.PYPI}
    with pytest.raises(HostvmError):
        update_lock(fetcher, replace(origin, architectures=("arm64",)), Silent(), str(tmp_path / "lock.json"))


def test_no_kernel_of_the_series(small: SmallArchive, fetcher: Fetcher, tmp_path: Path) -> None:
    for name in PACKAGES:
        small.add(name)
    small.publish()
    with pytest.raises(NotFound, match="no kernel"):
        renew(small, fetcher, tmp_path / "lock.json", publish_wheels(str(tmp_path)))


def test_no_wheel_for_the_guest(full: SmallArchive, fetcher: Fetcher, tmp_path: Path) -> None:
    full.publish()
    with pytest.raises(NotFound, match="no wheel of isal"):
        renew(full, fetcher, tmp_path / "lock.json", publish_wheels(str(tmp_path), _WHEELS[:2]))


def test_an_answer_of_pypi_that_cannot_be_read(full: SmallArchive, fetcher: Fetcher, tmp_path: Path) -> None:
    full.publish()
    publish_wheels(str(tmp_path))
    (tmp_path / "pypi/isal/json").write_text("<html>")
    with pytest.raises(PeerMisbehaved, match="PyPI"):
        renew(full, fetcher, tmp_path / "lock.json", f"file://{tmp_path}")
