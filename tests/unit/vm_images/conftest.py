from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.vm_images.small_archive import Silent, SmallArchive
from vm_images.debian.archive import Archive, Trust, open_archive
from vm_images.debian.download import Fetcher
from vm_images.debian.repositories import Repository


def make_key(folder: Path) -> str:
    """A GnuPG home with one signing key, and its public half as `keyring.gpg`."""
    if shutil.which("gpg") is None or shutil.which("gpgv") is None:
        pytest.skip("gpg and gpgv are needed to sign and verify a test archive: apt-get install gpg gpgv")
    home = folder / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
    subprocess.run(
        [*gpg, "--quick-gen-key", "Test <test@example.invalid>", "ed25519", "sign", "never"], check=True, timeout=60
    )
    subprocess.run([*gpg, "--output", str(home / "keyring.gpg"), "--export"], check=True, timeout=60)
    return str(home)


@pytest.fixture(scope="session")
def gnupg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    # A short path: gpg-agent's socket lies in it, and a socket's path has 108 bytes at most (unix(7)).
    home = make_key(tmp_path_factory.mktemp("key"))
    yield home
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, timeout=60)


@pytest.fixture
def small(tmp_path: Path, gnupg: str) -> SmallArchive:
    return SmallArchive(str(tmp_path), gnupg)


@pytest.fixture
def progress() -> Silent:
    return Silent()


@pytest.fixture
def fetcher(tmp_path: Path, progress: Silent) -> Fetcher:
    (tmp_path / "cache").mkdir()
    return Fetcher(str(tmp_path / "cache"), progress, pause=0)


class Opener:
    """Opens the small archive as the code under test would open Debian's."""

    def __init__(self, small: SmallArchive, fetcher: Fetcher, progress: Silent) -> None:
        self._small, self._fetcher, self._progress = small, fetcher, progress

    def __call__(self, codename: str = "bookworm", check_valid_until: bool = True, keyring: str = "") -> Archive:
        trust = Trust(keyring or f"{self._small.gnupg}/keyring.gpg", check_valid_until)
        return open_archive(self._fetcher, [Repository(self._small.mirror, codename)], "amd64", trust, self._progress)


@pytest.fixture
def opened(small: SmallArchive, fetcher: Fetcher, progress: Silent) -> Opener:
    return Opener(small, fetcher, progress)
