"""Packages whose very version is pinned, and where they are had from.

First a mirror, then Debian's own, then the record of every version there ever was: a mirror keeps the newest version of
a package and few others, and a locked one that a security update has replaced is soon on snapshot.debian.org only.
Wherever a file comes from, its SHA-256 is the lock's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from guest_agent.wire.errors import HostvmError, NotFound, Unavailable
from vm_images.debian.download import Download, Fetcher
from vm_images.debian.packages import Package
from vm_images.debian.repositories import PUBLIC_ARCHIVE, PUBLIC_SECURITY, Repository
from vm_images.sums import hash_file

#: How snapshot.debian.org writes a moment, in UTC.
SNAPSHOT_FORMAT = "%Y%m%dT%H%M%SZ"

_PYPI_FILES = "https://files.pythonhosted.org"
_SNAPSHOT = "http://snapshot.debian.org/archive"


class Source(StrEnum):
    ARCHIVE = "archive"
    SECURITY = "security"
    PYPI = "pypi"


@dataclass(frozen=True, slots=True)
class LockedPackage:
    name: str
    version: str
    source: Source
    path: str
    size: int
    sha256: str


def lock_package(package: Package, source: Source) -> LockedPackage:
    return LockedPackage(package.name, package.version, source, package.filename, package.size, package.sha256)


@dataclass(frozen=True, slots=True)
class Pinned:
    """What is pinned to a version, and how its user gets another: the words of an error."""

    what: str
    renewal: str


@dataclass(frozen=True, slots=True)
class Places:
    """Base URLs for each source, without a slash at the end; the first that has a file is taken."""

    archive: tuple[str, ...]
    security: tuple[str, ...]
    pypi: tuple[str, ...] = (_PYPI_FILES,)

    def urls(self, package: LockedPackage) -> tuple[str, ...]:
        bases = {Source.ARCHIVE: self.archive, Source.SECURITY: self.security, Source.PYPI: self.pypi}[package.source]
        return tuple(f"{base}/{package.path}" for base in dict.fromkeys(bases))


def plan_places(repositories: Sequence[Repository], snapshot: str) -> Places:
    """The mirrors that `plan_repositories` found, and what to fall back on. `snapshot` is the lock's."""
    archive = [it.uri for it in repositories if not it.suite.endswith("-security")][:1]
    security = [it.uri for it in repositories if it.suite.endswith("-security")]
    return Places(
        (*archive, PUBLIC_ARCHIVE, f"{_SNAPSHOT}/debian/{snapshot}"),
        (*security, PUBLIC_SECURITY, f"{_SNAPSHOT}/debian-security/{snapshot}"),
    )


def fetch_locked(fetcher: Fetcher, packages: Iterable[LockedPackage], places: Places, pinned: Pinned) -> None:
    """Has all of them in the cache, each with the lock's sum.

    Raises NotFound where nobody has one any more, Unavailable, PeerMisbehaved, HostFailed.
    """
    wanted = list(packages)
    _drop_damaged(fetcher, wanted)
    try:
        fetcher.fetch([_download(it, places.urls(it)[0]) for it in wanted], f"Fetching {len(wanted)} packages")
    except NotFound:
        for package in wanted:
            _fetch_anywhere(fetcher, package, places.urls(package), pinned)


def _drop_damaged(fetcher: Fetcher, packages: Iterable[LockedPackage]) -> None:
    """The cache compares sizes only; what a whole machine is made from is worth a fifth of a second."""
    for package in packages:
        path = fetcher.path(package.sha256)
        with suppress(FileNotFoundError):
            if hash_file(path) != package.sha256:
                os.unlink(path)


def _fetch_anywhere(fetcher: Fetcher, package: LockedPackage, urls: Sequence[str], pinned: Pinned) -> None:
    first, *others = urls
    try:
        return fetcher.fetch([_download(package, first)], f"Fetching {package.name}")
    except NotFound as error:
        missing = error
    for url in others:
        with suppress(NotFound, Unavailable):
            return fetcher.fetch([_download(package, url)], f"Fetching {package.name} from {url.split('/')[2]}")
    raise _gone(package, pinned) from missing


def _gone(package: LockedPackage, pinned: Pinned) -> HostvmError:
    return NotFound(
        f"{pinned.what} is pinned to {package.name} {package.version}, which the mirror doesn't have any more: an "
        "update has replaced it",
        pinned.renewal,
    )


def _download(package: LockedPackage, url: str) -> Download:
    return Download(url, package.sha256, package.size, f"package {package.name} {package.version}")
