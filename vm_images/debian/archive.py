"""A release of Debian as a whole: verified Release files, the catalogue, and packages on demand."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from guest_agent.wire.errors import NotFound, PeerMisbehaved, Unavailable, Unsupported
from vm_images.debian.download import Download, Fetcher, Progress
from vm_images.debian.locked import Source
from vm_images.debian.packages import Catalogue, Package
from vm_images.debian.release import (
    Release,
    find_gpgv,
    find_keyrings,
    parse_release,
    verify_clearsigned,
    verify_detached,
)
from vm_images.debian.repositories import Repository
from vm_images.documents import keep_document

#: Machine (uname -m) -> Debian's architecture.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "amd64": "amd64"}


def debian_architecture(machine: str) -> str:
    """Raises Unsupported."""
    try:
        return ARCHITECTURES[machine]
    except KeyError:
        raise Unsupported(f"no images can be built for {machine}", "there are amd64 and arm64") from None


@dataclass(frozen=True, slots=True)
class Suite:
    """A repository whose Release file was verified. `stale` says why it is one of an earlier run; "" = it is fresh."""

    repository: Repository
    release: Release
    stale: str = ""


class Archive:
    """The suites of one release for one architecture. `open_archive` makes it."""

    def __init__(self, fetcher: Fetcher, suites: Sequence[Suite], architecture: str) -> None:
        self.fetcher = fetcher
        self.suites = tuple(suites)
        self.architecture = architecture
        self._catalogue: Catalogue | None = None

    @property
    def epoch(self) -> int:
        """The main suite's date, in seconds: what is made from it is not younger."""
        return int(self.suites[0].release.date.timestamp())

    @property
    def moment(self) -> datetime:
        """When the newest of its package lists was written: where snapshot.debian.org has all of them."""
        return max(suite.release.date for suite in self.suites).astimezone(UTC)

    def recall(self, key: str) -> str:
        """What `remember` was given for `key` while the package lists were these; "" otherwise."""
        try:
            with open(self._note(key), encoding="ascii") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def remember(self, key: str, value: str) -> None:
        """Keeps what was worked out from the package lists. It is a short cut, never the truth.

        Raises HostFailed.
        """
        keep_document(self._note(key), value.encode("ascii"))

    def _note(self, key: str) -> str:
        name = hashlib.sha256("\n".join([key, self.architecture, *self._sums()]).encode()).hexdigest()
        return os.path.join(self.fetcher.cache, "labels", name)

    def _sums(self) -> list[str]:
        """What tells these package lists from others."""
        return [suite.release.files[_find_index(suite, self.architecture)].sha256 for suite in self.suites]

    @property
    def catalogue(self) -> Catalogue:
        """Fetched and read on first use. Raises as `Fetcher.fetch`."""
        if self._catalogue is None:
            self._catalogue = Catalogue(self._indices())
        return self._catalogue

    def _indices(self) -> list[tuple[str, str]]:
        indices = [(suite, _find_index(suite, self.architecture)) for suite in self.suites]
        self.fetcher.fetch([_index_download(suite, path) for suite, path in indices], "Fetching package lists")
        return [
            (suite.repository.uri, _read_index(self.fetcher.path(suite.release.files[path].sha256), path))
            for suite, path in indices
        ]

    def source_of(self, package: Package) -> Source:
        """Which of Debian's archives a package is in, whatever this mirror's address."""
        suites = {it.repository.uri: it.repository.suite for it in self.suites}
        return Source.SECURITY if suites[package.base].endswith("-security") else Source.ARCHIVE

    def fetch(self, packages: Iterable[Package]) -> None:
        """Has the packages' files in the cache, verified. Raises as `Fetcher.fetch`."""
        downloads = [Download(it.url, it.sha256, it.size, f"package {it.name} {it.version}") for it in packages]
        self.fetcher.fetch(downloads, f"Fetching {len(downloads)} packages")

    def path(self, package: Package) -> str:
        return self.fetcher.path(package.sha256)


def _find_index(suite: Suite, architecture: str) -> str:
    """Raises PeerMisbehaved where the suite has no list for the architecture."""
    repository = suite.repository
    for suffix in (".xz", ".gz", ""):
        path = f"{repository.component}/binary-{architecture}/Packages{suffix}"
        if path in suite.release.files:
            return path
    raise PeerMisbehaved(f"{repository.base} has no packages for {architecture}", "name another mirror")


def _index_download(suite: Suite, path: str) -> Download:
    checksum = suite.release.files[path]
    where = f"{os.path.dirname(path)}/by-hash/SHA256/{checksum.sha256}" if suite.release.by_hash else path
    return Download(
        f"{suite.repository.base}/{where}", checksum.sha256, checksum.size, f"{suite.repository.base}/{path}"
    )


def _read_index(path: str, name: str) -> str:
    with open(path, "rb") as file:
        data = file.read()
    if name.endswith(".xz"):
        data = lzma.decompress(data)
    elif name.endswith(".gz"):
        data = gzip.decompress(data)
    return data.decode("utf-8")


@dataclass(frozen=True, slots=True)
class Trust:
    """How Release files are checked. `keyring` "" = Debian's own."""

    keyring: str = ""
    check_valid_until: bool = True


def open_archive(
    fetcher: Fetcher, repositories: Sequence[Repository], architecture: str, trust: Trust, progress: Progress
) -> Archive:
    """Fetches and verifies the Release files. Raises HostFailed (no gpgv, no keyring), PeerMisbehaved, Unavailable.

    A mirror that can't be reached is no error while the Release files of an earlier run are in the cache: they are
    verified as if they had just come.
    """
    find_gpgv()
    with ThreadPoolExecutor(len(repositories)) as pool:
        jobs = [pool.submit(_open_suite, fetcher, it, trust, progress) for it in repositories]
    suites = [suite for job in jobs if (suite := job.result()) is not None]
    for reason in sorted({suite.stale for suite in suites if suite.stale}):
        progress.note(f"warning: {reason}; using the Release files of an earlier run")
    return Archive(fetcher, suites, architecture)


def _open_suite(fetcher: Fetcher, repository: Repository, trust: Trust, progress: Progress) -> Suite | None:
    keyrings = find_keyrings(trust.keyring or repository.keyring)
    try:
        text, stale = _fetch_release(fetcher, repository, keyrings)
    except NotFound as error:
        if repository.required:
            raise
        progress.note(f"warning: the mirror has no {repository.suite}: {error.message}")
        return None
    release = _parse(text, repository)
    _check_release(release, repository, trust)
    return Suite(repository, release, stale)


def _fetch_release(fetcher: Fetcher, repository: Repository, keyrings: Sequence[str]) -> tuple[str, str]:
    """The verified text, and `Suite.stale`. InRelease first, then Release with Release.gpg."""
    url = f"{repository.base}/InRelease"
    try:
        data = fetcher.get(url)
    except Unavailable as error:
        return _from_cache(fetcher, repository, keyrings, error), error.message
    except NotFound:
        plain, signature = fetcher.get(f"{repository.base}/Release"), fetcher.get(f"{repository.base}/Release.gpg")
        return verify_detached(plain, signature, keyrings, f"{repository.base}/Release"), ""
    text = verify_clearsigned(data, keyrings, url)
    keep_document(_cached_release(fetcher, repository), data)
    return text, ""


def _from_cache(fetcher: Fetcher, repository: Repository, keyrings: Sequence[str], error: Unavailable) -> str:
    try:
        with open(_cached_release(fetcher, repository), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise error from None
    return verify_clearsigned(data, keyrings, f"{repository.base}/InRelease")


def _cached_release(fetcher: Fetcher, repository: Repository) -> str:
    name = repository.base.split("://")[-1].replace("/", "_")
    return os.path.join(fetcher.cache, "releases", name)


def _parse(text: str, repository: Repository) -> Release:
    try:
        return parse_release(text)
    except ValueError as error:
        raise PeerMisbehaved(
            f"the Release file of {repository.base} can't be read: {error}", "name another mirror"
        ) from error


def _check_release(release: Release, repository: Repository, trust: Trust) -> None:
    """A signed file of another suite, or one from long ago, is as bad as a forged one."""
    if release.codename != repository.suite:
        raise PeerMisbehaved(
            f"{repository.base} is the release {release.codename!r}, not {repository.suite!r}", "name another mirror"
        )
    if trust.check_valid_until and release.valid_until and release.valid_until < datetime.now(UTC):
        raise PeerMisbehaved(
            f"the Release file of {repository.base} has expired on {release.valid_until:%Y-%m-%d}",
            "is the mirror stuck, or this machine's clock wrong? apt's Acquire::Check-Valid-Until is honoured",
        )
