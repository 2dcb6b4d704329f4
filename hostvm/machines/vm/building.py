"""The guest image: where it comes from, and that it is made once. Cold: imported only where one is to be made."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from guest_agent.wire.errors import HostvmError
from hostvm.machines.mirror import read_mirror
from vm_images.build import cache_folder
from vm_images.debian.apt_settings import read_apt_settings
from vm_images.debian.archive import Trust
from vm_images.debian.download import Fetcher, Progress
from vm_images.debian.repositories import plan_repositories
from vm_images.guest.build import build_image, plan_means
from vm_images.guest.contents import SUITE
from vm_images.guest.image import GuestImage, find_image
from vm_images.guest.lock import LOCK, renewed_lock
from vm_images.guest.renewal import Origin, update_lock

#: How the stages of a build begin.
IMAGE_STAGE = "making the guest image"


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where images are made: the folder CACHE, the path of the configuration, the environment."""

    cache: str
    config: str
    environment: Mapping[str, str]

    @property
    def mirror(self) -> str:
        return self.environment.get("HOSTVM_DEBIAN_MIRROR") or read_mirror(self.config)


def make_image(workplace: Workplace, arch: str, progress: Progress, anew: bool = False) -> GuestImage:
    """The image; made where there is none, or an older one. Raises as `vm_images.guest.build.build_image`."""
    apt = read_apt_settings()
    fetcher = _fetcher(workplace, progress, apt.proxies)
    return build_image(
        workplace.cache, arch, plan_means(workplace.cache, fetcher, progress, apt, workplace.mirror), anew
    )


def ensure_image(workplace: Workplace, arch: str, progress: Progress) -> GuestImage:
    """The image that is there, whichever its age, or a new one where none can be used."""
    try:
        found = find_image(workplace.cache, arch)
    except HostvmError as error:
        progress.note(f"{error.message}: making it anew")
        found = None
    return found or make_image(workplace, arch, progress, anew=True)


def renew_lock(workplace: Workplace, progress: Progress) -> str:
    """Writes the versions that there are today to the lock file that counts for this user, and gives its path.

    Raises as `vm_images.guest.renewal.update_lock`.
    """
    apt = read_apt_settings()
    trust = Trust(workplace.environment.get("HOSTVM_DEBIAN_KEYRING", ""), apt.check_valid_until)
    origin = Origin(plan_repositories(SUITE, apt.sources, workplace.mirror), trust)
    path = LOCK if os.access(LOCK, os.W_OK) else renewed_lock(workplace.cache)
    update_lock(_fetcher(workplace, progress, apt.proxies), origin, progress, path)
    return path


class HeardProgress:
    """A build as stages of a machine's start."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        self._hear = hear
        self._title = ""
        self._total = self._done = self._told = 0
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        self._hear(f"{IMAGE_STAGE}: {text}")

    def begin(self, title: str, total: int) -> None:
        self._title, self._total, self._done, self._told = title, max(1, total), 0, 0
        self.note(f"{title} ({total / 1e6:.1f} MB)")

    def advance(self, count: int) -> None:
        """Called from several threads."""
        with self._lock:
            self._done += count
            percent = min(100, self._done * 100 // self._total)
            if percent > self._told:
                self._told = percent
                self.note(f"{self._title} ({self._total / 1e6:.1f} MB): {percent} %")

    def finish(self) -> None:
        pass


def _fetcher(workplace: Workplace, progress: Progress, proxies: Mapping[str, str]) -> Fetcher:
    return Fetcher(cache_folder({"HOSTVM_CACHE": workplace.cache}, ""), progress, proxies)
