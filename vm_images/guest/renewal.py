"""Renews the lock file: today's versions of every package, from package lists under Debian's signature."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from guest_agent.wire.errors import NotFound, PeerMisbehaved
from vm_images.debian.archive import Archive, Trust, open_archive
from vm_images.debian.download import Fetcher, Progress
from vm_images.debian.locked import SNAPSHOT_FORMAT, LockedPackage, Source, lock_package
from vm_images.debian.packages import Package
from vm_images.debian.repositories import Repository
from vm_images.debian.resolver import find_package
from vm_images.debian.versions import Version
from vm_images.guest.contents import PACKAGES, PYTHON, SUITE, WHEELS, kernel_pattern
from vm_images.guest.lock import Lock, LockedArchitecture, replace_lock

ARCHITECTURES = ("amd64", "arm64")
PYPI = "https://pypi.org"
_WHEEL_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where versions come from. `repositories` are `plan_repositories(SUITE, ...)`."""

    repositories: Sequence[Repository]
    trust: Trust
    pypi: str = PYPI
    architectures: tuple[str, ...] = ARCHITECTURES


def update_lock(fetcher: Fetcher, origin: Origin, progress: Progress, path: str) -> Lock:
    """Writes the lock file at `path` anew, whole or not at all: `lock.LOCK`, or `lock.renewed_lock(cache)`.

    Raises HostFailed (no gpgv, no keyring, can't write), PeerMisbehaved, NotFound, Unavailable.
    """
    archives = [open_archive(fetcher, origin.repositories, it, origin.trust, progress) for it in origin.architectures]
    wheels = {name: _parse_wheels(fetcher.get(f"{origin.pypi}/pypi/{name}/json")) for name in sorted(WHEELS)}
    lock = plan_lock(archives, wheels)
    replace_lock(path, lock)
    return lock


def plan_lock(archives: Sequence[Archive], wheels: Mapping[str, Sequence[LockedPackage]]) -> Lock:
    date = max(archive.moment for archive in archives)
    architectures = {archive.architecture: _plan_architecture(archive, wheels) for archive in archives}
    return Lock(SUITE, int(date.timestamp()), date.strftime(SNAPSHOT_FORMAT), architectures)


def _plan_architecture(archive: Archive, wheels: Mapping[str, Sequence[LockedPackage]]) -> LockedArchitecture:
    kernel = find_kernel(archive)
    packages = [kernel, *(find_package(archive.catalogue, name) for name in PACKAGES)]
    chosen = [_find_wheel(name, found, archive.architecture) for name, found in wheels.items()]
    locked = [*(_lock(archive, it) for it in packages), *chosen]
    return LockedArchitecture(kernel.name, tuple(sorted(locked, key=lambda it: it.name)))


def find_kernel(archive: Archive) -> Package:
    """The newest kernel of the series. Raises NotFound."""
    pattern = re.compile(kernel_pattern(archive.architecture))
    found = [find_package(archive.catalogue, name) for name in archive.catalogue.names() if pattern.fullmatch(name)]
    if not found:
        raise NotFound(
            f"the mirror has no kernel {pattern.pattern}", "it comes from the suite -security: does the mirror have it?"
        )
    return max(found, key=lambda package: Version(package.version))


def _lock(archive: Archive, package: Package) -> LockedPackage:
    return lock_package(package, archive.source_of(package))


def _parse_wheels(data: bytes) -> tuple[LockedPackage, ...]:
    """The newest release's files (docs.pypi.org/api/json). Raises PeerMisbehaved."""
    try:
        value = json.loads(data)
        name, version = value["info"]["name"], value["info"]["version"]
        return tuple(
            LockedPackage(name, version, Source.PYPI, _wheel_path(it["url"]), int(it["size"]), it["digests"]["sha256"])
            for it in value["urls"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise PeerMisbehaved(f"PyPI's answer can't be read: {error!r}", "try again later") from error


def _wheel_path(url: str) -> str:
    """PyPI's files lie below packages/, whichever host serves them."""
    return f"packages/{url.rpartition('packages/')[2]}"


def _find_wheel(name: str, wheels: Sequence[LockedPackage], architecture: str) -> LockedPackage:
    """The wheel for the guest's Python and its C library. Raises NotFound."""
    tag = f"cp{PYTHON.replace('.', '')}"
    start, end = f"-{tag}-{tag}-manylinux", f"{_WHEEL_MACHINES[architecture]}.whl"
    found = [wheel for wheel in wheels if start in wheel.path and wheel.path.endswith(end)]
    if not found:
        raise NotFound(f"PyPI has no wheel of {name} for Python {PYTHON} on {architecture}")
    return found[0]
