"""The chain of trust, the downloads and the cache, over an archive that the tests sign themselves."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from guest_agent.wire.errors import HostFailed, HostvmError, NotFound, PeerMisbehaved, Unavailable
from tests.unit.vm_images.conftest import Opener, make_key
from tests.unit.vm_images.small_archive import EPOCH, Silent, SmallArchive
from vm_images.debian.archive import Archive
from vm_images.debian.download import Download, Fetcher
from vm_images.debian.packages import Package
from vm_images.debian.release import find_keyrings


def package_of(archive: Archive, name: str = "hello") -> Package:
    package = archive.catalogue.candidate(name)
    assert package is not None
    return package


def test_a_package_comes_verified_and_only_once(small: SmallArchive, opened: Opener, progress: Silent) -> None:
    small.add("hello", files={"usr/bin/hello": b"#!"})
    small.publish()
    archive = opened()
    package = package_of(archive)
    archive.fetch([package])
    archive.fetch([package])
    assert archive.epoch == EPOCH
    assert Path(archive.path(package)).read_bytes() == Path(f"{small.root}/debian/{package.filename}").read_bytes()
    assert progress.begun == ["Fetching package lists", "Fetching 1 packages"]


def test_release_with_a_detached_signature(small: SmallArchive, opened: Opener) -> None:
    small.add("hello")
    small.publish()
    Path(small.suite, "InRelease").unlink()
    assert package_of(opened()).version == "1.0"


def refused(opened: Opener, codename: str = "bookworm", keyring: str = "") -> HostvmError:
    with pytest.raises(HostvmError) as caught:
        opened(codename, keyring=keyring)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


def test_a_changed_release_is_refused(small: SmallArchive, opened: Opener) -> None:
    small.publish()
    path = Path(small.suite, "InRelease")
    path.write_text(path.read_text().replace("Origin: Debian", "Origin: Dubian"))
    error = refused(opened)
    assert isinstance(error, PeerMisbehaved)
    assert "changed after it was signed" in error.message


def test_a_changed_release_with_a_detached_signature_is_refused(small: SmallArchive, opened: Opener) -> None:
    small.publish()
    Path(small.suite, "InRelease").unlink()
    path = Path(small.suite, "Release")
    path.write_text(path.read_text() + "X: y\n")
    assert "changed after it was signed" in refused(opened).message


def test_an_unsigned_release_is_refused(small: SmallArchive, opened: Opener) -> None:
    small.publish()
    shutil.copy(Path(small.suite, "Release"), Path(small.suite, "InRelease"))
    assert "there is no signature" in refused(opened).message


def test_another_key_is_refused(small: SmallArchive, opened: Opener, tmp_path_factory: pytest.TempPathFactory) -> None:
    small.publish()
    other = make_key(tmp_path_factory.mktemp("other"))
    assert "key that the keyring doesn't have" in refused(opened, keyring=f"{other}/keyring.gpg").message


def test_text_around_the_signed_part_does_not_count(small: SmallArchive, opened: Opener) -> None:
    small.add("hello")
    small.publish()
    path = Path(small.suite, "InRelease")
    path.write_text(f"Codename: evil\nSHA256:\n {'0' * 64} 1 main/binary-amd64/Packages.xz\n\n{path.read_text()}")
    try:
        archive = opened()
    except PeerMisbehaved:
        return  # gpgv's choice
    assert package_of(archive).version == "1.0"


def test_a_release_of_another_name_is_refused(small: SmallArchive, opened: Opener) -> None:
    small.publish()
    shutil.copytree(small.suite, f"{small.root}/debian/dists/trixie")
    assert "is the release 'bookworm', not 'trixie'" in refused(opened, codename="trixie").message


def test_an_expired_release_is_refused(small: SmallArchive, opened: Opener) -> None:
    small.add("hello")
    small.publish(f"Valid-Until: {formatdate(EPOCH + 60, usegmt=True)}\n")
    assert "has expired on 2024-01-01" in refused(opened).message
    assert package_of(opened(check_valid_until=False)).name == "hello"


def test_without_gpgv_nothing_goes(small: SmallArchive, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    small.publish()
    monkeypatch.setenv("PATH", small.root)
    assert "gpgv is missing" in refused(opened).message


def test_without_a_keyring_nothing_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vm_images.debian.release.DEBIAN_KEYRING", "/nowhere/keyring.gpg")
    with pytest.raises(HostFailed, match="keyring is missing"):
        find_keyrings()
    with pytest.raises(HostFailed, match="no keyring at /nowhere"):
        find_keyrings("/nowhere")


def test_a_mirror_without_the_release(small: SmallArchive, opened: Opener) -> None:
    assert isinstance(refused(opened), NotFound)


def test_a_changed_index_is_refused(small: SmallArchive, opened: Opener) -> None:
    small.add("hello")
    small.publish()
    (path,) = Path(small.suite, "main/binary-amd64/by-hash/SHA256").iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(PeerMisbehaved, match="wrong checksum"):
        _ = opened().catalogue


@pytest.mark.parametrize(("change", "text"), [(b"x", "wrong checksum"), (b"", "is truncated")])
def test_a_damaged_package_is_refused_and_not_kept(
    small: SmallArchive, opened: Opener, fetcher: Fetcher, change: bytes, text: str
) -> None:
    small.add("hello")
    small.publish()
    archive = opened()
    package = package_of(archive)
    path = Path(small.root, "debian", package.filename)
    path.write_bytes(path.read_bytes()[:-1] + change)
    with pytest.raises(PeerMisbehaved, match=text):
        archive.fetch([package])
    assert len(list(Path(fetcher.store).iterdir())) == 1  # the package list; nothing half


def test_a_cache_file_that_was_cut_is_fetched_again(small: SmallArchive, opened: Opener) -> None:
    small.add("hello")
    small.publish()
    archive = opened()
    package = package_of(archive)
    archive.fetch([package])
    Path(archive.path(package)).write_bytes(b"")
    archive.fetch([package])
    assert Path(archive.path(package)).stat().st_size == package.size


class _Faulty(http.server.BaseHTTPRequestHandler):
    """/flaky answers at the third time, /cut ends too early, /gone is 404, /broken always 500."""

    calls = 0

    def do_GET(self) -> None:
        type(self).calls += 1
        fails = self.path == "/broken" or (self.path == "/flaky" and type(self).calls < 3)
        self.send_response(404 if self.path == "/gone" else 503 if fails else 200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"da" if self.path == "/cut" else b"data")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def faulty() -> Iterator[str]:
    _Faulty.calls = 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Faulty)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_passing_failure_is_tried_again(faulty: str, fetcher: Fetcher) -> None:
    assert fetcher.get(f"{faulty}/flaky") == b"data"


def test_a_lasting_failure_is_unavailable(faulty: str, fetcher: Fetcher) -> None:
    with pytest.raises(Unavailable, match="the mirror answered 503"):
        fetcher.get(f"{faulty}/broken")
    with pytest.raises(NotFound):
        fetcher.get(f"{faulty}/gone")


def test_a_transfer_that_ends_early_is_truncated(faulty: str, fetcher: Fetcher) -> None:
    with pytest.raises(PeerMisbehaved, match="package x is truncated: 2 of 4 bytes"):
        fetcher.fetch([Download(f"{faulty}/cut", "0" * 64, 4, "package x")], "x")


def test_nobody_there(faulty: str, fetcher: Fetcher) -> None:
    with pytest.raises(Unavailable, match=r"cannot reach the Debian mirror 127.0.0.1:1: Connection refused"):
        fetcher.get("http://127.0.0.1:1/x")


def test_a_proxy_of_apt_is_used(faulty: str, tmp_path: Path, progress: Silent) -> None:
    fetcher = Fetcher(str(tmp_path), progress, {"http": faulty}, pause=0)
    assert fetcher.get("http://mirror.invalid/x") == b"data"


def test_a_mirror_that_went_away_leaves_the_cache(
    small: SmallArchive, opened: Opener, fetcher: Fetcher, progress: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(url: str) -> bytes:
        raise Unavailable("cannot reach the Debian mirror")

    small.add("hello")
    small.publish()
    _ = opened().catalogue
    monkeypatch.setattr(fetcher, "get", unreachable)
    assert package_of(opened()).version == "1.0"
    assert progress.notes == ["warning: cannot reach the Debian mirror; using the Release files of an earlier run"]


def test_a_cached_release_is_verified_again(
    small: SmallArchive, opened: Opener, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(url: str) -> bytes:
        raise Unavailable("cannot reach the Debian mirror")

    small.publish()
    opened()
    (cached,) = Path(fetcher.cache, "releases").iterdir()
    cached.write_bytes(cached.read_bytes().replace(b"Debian", b"Dubian"))
    monkeypatch.setattr(fetcher, "get", unreachable)
    assert "changed after it was signed" in refused(opened).message
