"""Builds the guest image: the doing half. An ordinary user does it, on Linux or macOS; no program but Python is needed.

What comes out depends on the lock file, on the tables in `contents` and `settings`, on this code and on whether this
Python makes bytecode for the guest's. The digest of all these is the image's `inputs`: where an image has it, there is
nothing to do.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from guest_agent.wire.errors import DataDamaged, HostFailed, PeerMisbehaved
from vm_images.debian.apt_settings import AptSettings
from vm_images.debian.deb import open_data
from vm_images.debian.download import Fetcher, Progress
from vm_images.debian.locked import LockedPackage, Pinned, Places, Source, fetch_locked, plan_places
from vm_images.debian.repositories import plan_repositories
from vm_images.guest import contents, rootfs, settings
from vm_images.guest.bytecode import can_compile
from vm_images.guest.cpio import write_cpio
from vm_images.guest.image import (
    DESCRIPTION,
    FORMAT,
    KERNEL,
    ROOTFS,
    GuestImage,
    debian_name,
    find_image,
    image_folder,
    image_id,
    machine_name,
)
from vm_images.guest.kernel import extract_kernel
from vm_images.guest.libraries import check_libraries
from vm_images.guest.lock import Lock, LockedArchitecture, choose_lock
from vm_images.rootfs import merged_usr
from vm_images.sums import hash_file
from vm_images.tree import Tree

#: Counts up when the same packages and tables give another image.
_BUILDER = 1
_NEW = "new"
_PINNED = Pinned(
    "the guest image", "renew the pinned versions: hostvm machine build-image --update-lock (or upgrade hostvm)"
)


@dataclass(frozen=True, slots=True)
class Means:
    """What a build needs of the outside. `plan_means` makes it."""

    fetcher: Fetcher
    progress: Progress
    lock: Lock
    places: Places


def plan_means(cache: str, fetcher: Fetcher, progress: Progress, apt: AptSettings, mirror: str = "") -> Means:
    """Ordinary means: `mirror` ("" = apt's, else a public one), and the lock that counts for `cache`.

    Raises DataDamaged (lock file), InvalidArgument (mirror).
    """
    lock = choose_lock(cache, contents.NEEDED)
    places = plan_places(plan_repositories(lock.suite, apt.sources, mirror), lock.snapshot)
    return Means(fetcher, progress, lock, places)


def build_image(cache: str, arch: str, means: Means, anew: bool = False) -> GuestImage:
    """The image for `arch` in `cache`, made where there is none of the same inputs or it is damaged, or if `anew`.

    Builders of one image wait for each other, and the second takes the first's. An image appears whole or not at all;
    until then the former one is there.
    Raises Unsupported, NotFound, Unavailable, PeerMisbehaved, HostFailed.
    """
    folder = image_folder(cache, arch)
    with _translated(folder), _exclusive(folder, means.progress) as waited:
        found = None if anew and not waited else _find_whole(cache, arch)
        if found is not None and is_current(found, means.lock):
            return found
        with _workshop(folder) as workshop:
            _make(workshop, arch, means)
            _place(workshop, folder)
    image = find_image(cache, arch)
    assert image is not None
    return image


def is_current(image: GuestImage, lock: Lock) -> bool:
    """Whether the image is what `lock` and this version would make."""
    return image.inputs == plan_inputs(lock, image.arch)


def plan_inputs(lock: Lock, arch: str) -> str:
    """The digest of everything that the image is made from. Raises Unsupported."""
    tables = {
        name: value
        for module in (contents, settings)
        for name, value in vars(module).items()
        if isinstance(value, (str, tuple, dict)) and name.strip("_").isupper()
    }
    value = [_BUILDER, lock.digest(debian_name(arch)), tables, can_compile(contents.PYTHON)]
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _find_whole(cache: str, arch: str) -> GuestImage | None:
    try:
        return find_image(cache, arch)
    except DataDamaged:
        return None


@contextmanager
def _translated(folder: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostFailed(
            f"cannot make the guest image in {folder}: {error.strerror or error}", "HOSTVM_CACHE names another folder"
        ) from error


@contextmanager
def _exclusive(folder: str, progress: Progress) -> Iterator[bool]:
    """Holds the lock of the image in `folder`; whether another build held it."""
    waited = False
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with open(f"{folder}.lock", "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.note("Waiting for another build of the same image")
            fcntl.flock(file, fcntl.LOCK_EX)
            waited = True
        yield waited


@contextmanager
def _workshop(folder: str) -> Iterator[str]:
    """A folder beside `folder`, gone afterwards; what killed builds have left goes as well. Call with the lock held."""
    path = f"{folder}.building"
    shutil.rmtree(path, ignore_errors=True)
    os.mkdir(path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _make(workshop: str, arch: str, means: Means) -> None:
    """Makes an image in `workshop`/new."""
    architecture, folder = debian_name(arch), os.path.join(workshop, _NEW)
    os.mkdir(folder)
    locked = means.lock.of(architecture)
    fetch_locked(means.fetcher, locked.packages, means.places, _PINNED)
    means.progress.note("Unpacking the kernel")
    kernel = _read_kernel(means.fetcher, locked)
    _write(os.path.join(folder, KERNEL), extract_kernel(kernel.image, architecture))
    means.progress.note("Making the root file system")
    with tempfile.TemporaryFile(dir=workshop) as spool, open(os.path.join(folder, ROOTFS), "wb") as file:
        tree = Tree(spool, means.lock.epoch, merged_usr(architecture))
        _fill(tree, kernel, architecture, means)
        check_libraries(tree, architecture)
        write_cpio(tree, file, means.lock.epoch)
    _describe(folder, machine_name(arch), kernel.version, locked, plan_inputs(means.lock, arch))


def _read_kernel(fetcher: Fetcher, locked: LockedArchitecture) -> rootfs.Kernel:
    package = next(it for it in locked.packages if it.name == locked.kernel)
    with open_data(fetcher.path(package.sha256)) as data:
        return rootfs.read_kernel(data)


def _fill(tree: Tree, kernel: rootfs.Kernel, architecture: str, means: Means) -> None:
    locked = means.lock.of(architecture)
    for package in locked.packages:
        if package.name != locked.kernel:
            _add(tree, package, architecture, means.fetcher.path(package.sha256))
    rootfs.add_modules(tree, kernel)
    if not can_compile(contents.PYTHON):
        means.progress.note(f"warning: no bytecode, as this isn't Python {contents.PYTHON}: the guest will boot slower")
    rootfs.finish(tree, can_compile(contents.PYTHON))


def _add(tree: Tree, package: LockedPackage, architecture: str, path: str) -> None:
    if package.source is not Source.PYPI:
        with open_data(path) as data:
            rootfs.add_package(tree, data, contents.plan_patterns(package.name, architecture))
        return
    try:
        with zipfile.ZipFile(path) as wheel:
            rootfs.add_wheel(tree, wheel, contents.WHEELS.get(package.name, ()))
    except zipfile.BadZipFile as error:
        raise PeerMisbehaved(f"damaged package {path}: {error}", "remove the file and try again") from error


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _describe(folder: str, arch: str, kernel_version: str, locked: LockedArchitecture, inputs: str) -> None:
    paths = {name: os.path.join(folder, name) for name in (KERNEL, ROOTFS)}
    sums = {name: hash_file(path) for name, path in paths.items()}
    value = {
        "format": FORMAT,
        "id": image_id(sums),
        "arch": arch,
        "python": contents.PYTHON,
        "bytecode": can_compile(contents.PYTHON),
        "kernel_version": kernel_version,
        "inputs": inputs,
        "files": {name: {"size": os.path.getsize(path), "sha256": sums[name]} for name, path in paths.items()},
        "packages": {it.name: it.version for it in locked.packages},
    }
    _write(os.path.join(folder, DESCRIPTION), json.dumps(value, indent=1, sort_keys=True).encode() + b"\n")


def _place(workshop: str, folder: str) -> None:
    """The former image goes aside first: a folder can't be renamed over one that isn't empty (rename(2))."""
    finished = os.path.join(workshop, _NEW)
    for name in os.listdir(finished):
        _sync(os.path.join(finished, name))
    if os.path.exists(folder):
        os.rename(folder, os.path.join(workshop, "former"))
    os.rename(finished, folder)


def _sync(path: str) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
