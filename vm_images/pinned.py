"""An archive that has what a lock file names, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from vm_images.debian.archive import Archive
from vm_images.debian.download import Fetcher
from vm_images.debian.locked import Pinned, Places, Source, fetch_locked
from vm_images.debian.packages import Package
from vm_images.package_lock import PackageLock

_PINNED = Pinned("the lock file", "remove the lock file to take today's versions, or name a mirror that has this one")


class PinnedArchive(Archive):
    """Neither Release files nor package lists are fetched: the lock has their sums."""

    def __init__(self, fetcher: Fetcher, lock: PackageLock, places: Places) -> None:
        super().__init__(fetcher, (), lock.architecture)
        self._lock = lock
        self._places = places

    @property
    def epoch(self) -> int:
        return self._lock.epoch

    def _sums(self) -> list[str]:
        return [self._lock.digest]

    def _indices(self) -> list[tuple[str, str]]:
        return self._lock.indices()

    def source_of(self, package: Package) -> Source:
        return Source(package.base)

    def fetch(self, packages: Iterable[Package]) -> None:
        fetch_locked(self.fetcher, self._lock.locked(packages), self._places, _PINNED)
