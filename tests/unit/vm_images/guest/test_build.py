"""The builder, from packages that these tests make. What comes of Debian's own is in tests/vm/guest_image."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from guest_agent.wire.errors import HostFailed, HostvmError, NotFound, PeerMisbehaved, Unsupported
from tests.unit.vm_images.guest.parts import KERNEL, PACKAGES, VERSION, Mirror, kernel_files, make_elf, read_cpio
from tests.unit.vm_images.small_archive import Silent
from vm_images.debian.apt_settings import AptSettings
from vm_images.debian.download import Fetcher
from vm_images.guest import GuestImage, build, find_image, verify_image
from vm_images.guest.build import Means, build_image, is_current, plan_means
from vm_images.guest.contents import BOOT_MODULES
from vm_images.guest.cpio import write_cpio
from vm_images.tree import Tree


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(str(tmp_path / "mirror"))


@pytest.fixture
def cache(tmp_path: Path) -> str:
    return str(tmp_path / "cache")


def entries(image: GuestImage) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    return read_cpio(Path(image.rootfs).read_bytes())


def test_an_image_holds_what_the_tables_say(mirror: Mirror, cache: str) -> None:
    image = build_image(cache, "x86_64", mirror.means(cache))
    files = entries(image)
    assert (image.kernel_version, image.arch) == (VERSION, "x86_64")
    assert Path(image.kernel).read_bytes() == make_elf()
    assert files["etc/ssl/certs/ca-certificates.crt"][1] == b"A\nB\n"
    assert files["usr/bin/sh"][:2] == (0o120777, b"busybox")
    assert files["bin"][1] == b"usr/bin"
    assert files["usr/lib/python3.11/h11/__init__.py"][0] == 0o100755
    assert files["usr/lib/python3.11/isal/__init__.py"][1] == b""
    assert stat.S_IMODE(files["tmp"][0]) == 0o1777
    assert not [path for path in files if "share" in path or "igzip.py" in path or "METADATA" in path]
    verify_image(image)


def test_modules_are_listed_by_their_paths(mirror: Mirror, cache: str) -> None:
    files = entries(build_image(cache, "x86_64", mirror.means(cache)))
    listed = files["usr/lib/hostvm/modules"][1].decode().splitlines()
    assert len(listed) == len(BOOT_MODULES) - 2  # two are in the kernel
    assert all(path[1:] in files for path in listed)
    assert f"usr/lib/modules/{VERSION}/modules.dep" in files
    assert files["usr/lib/hostvm/modules.late"][1] == b""


def test_bytecode_is_beside_the_sources_or_its_absence_is_said(
    mirror: Mirror, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for possible in (True, False):
        monkeypatch.setattr(build, "can_compile", lambda version, possible=possible: possible)
        means = mirror.means(cache)
        image = build_image(cache, "x86_64", means)
        assert image.bytecode is possible
        assert ("usr/lib/python3.11/__pycache__/os.cpython-311.pyc" in entries(image)) is possible
        assert isinstance(means.progress, Silent)
        assert any("no bytecode" in note for note in means.progress.notes) is not possible


def test_it_takes_neither_root_nor_a_program(mirror: Mirror, cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Mac has no dpkg, and its kernel no such devices."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("not on a Mac")

    for module, names in ((subprocess, ("Popen",)), (os, ("mknod", "chown", "lchown", "setxattr", "fork", "system"))):
        for name in names:
            monkeypatch.setattr(module, name, refuse, raising=False)
    verify_image(build_image(cache, "x86_64", mirror.means(cache)))


def test_two_builds_give_the_same_bytes(mirror: Mirror, tmp_path: Path) -> None:
    images = [build_image(str(tmp_path / name), "x86_64", mirror.means(str(tmp_path / name))) for name in ("a", "b")]
    assert images[0].id == images[1].id
    assert Path(images[0].rootfs).read_bytes() == Path(images[1].rootfs).read_bytes()


def test_a_second_build_finds_the_first(mirror: Mirror, cache: str) -> None:
    means = mirror.means(cache)
    first = build_image(cache, "x86_64", means)
    inode = os.stat(first.kernel).st_ino
    assert build_image(cache, "amd64", means) == first
    assert os.stat(first.kernel).st_ino == inode
    assert is_current(first, means.lock)
    assert build_image(cache, "x86_64", means, anew=True) == first
    assert os.stat(first.kernel).st_ino != inode


def test_other_packages_are_another_image(mirror: Mirror, cache: str) -> None:
    first = build_image(cache, "x86_64", mirror.means(cache))
    means = mirror.means(cache, {**PACKAGES, "python3-h11": {"usr/lib/python3/dist-packages/h11/__init__.py": b"1"}})
    assert not is_current(first, means.lock)
    second = build_image(cache, "x86_64", means)
    assert second.id != first.id
    assert find_image(cache, "x86_64") == second


def test_a_damaged_image_is_made_anew(mirror: Mirror, cache: str) -> None:
    means = mirror.means(cache)
    image = build_image(cache, "x86_64", means)
    Path(image.rootfs).write_bytes(b"cut")
    assert build_image(cache, "x86_64", means) == image
    verify_image(image)


def test_a_damaged_file_in_the_download_cache_is_fetched_again(mirror: Mirror, cache: str) -> None:
    means = mirror.means(cache)
    image = build_image(cache, "x86_64", means)
    package = means.lock.of("amd64").packages[1]
    Path(means.fetcher.path(package.sha256)).write_bytes(bytes(package.size))
    assert build_image(cache, "x86_64", means, anew=True).id == image.id


def failure(cache: str, means: Means) -> HostvmError:
    with pytest.raises(HostvmError) as caught:
        build_image(cache, "x86_64", means)
    return caught.value


def test_a_failed_build_leaves_the_former_image_and_nothing_else(mirror: Mirror, cache: str) -> None:
    first = build_image(cache, "x86_64", mirror.means(cache))
    broken = mirror.means(cache, {**PACKAGES, "crun": {"usr/bin/crun": make_elf(("libgone.so.1",))}})
    error = failure(cache, broken)
    assert isinstance(error, PeerMisbehaved)
    assert "/usr/bin/crun needs libgone.so.1" in error.message
    assert find_image(cache, "x86_64") == first
    assert sorted(os.listdir(f"{cache}/guest")) == ["x86_64", "x86_64.lock"]


def test_what_a_killed_build_left_is_swept(mirror: Mirror, cache: str) -> None:
    os.makedirs(f"{cache}/guest/x86_64.building/new")
    build_image(cache, "x86_64", mirror.means(cache))
    assert sorted(os.listdir(f"{cache}/guest")) == ["x86_64", "x86_64.lock"]


def test_a_version_that_has_left_the_mirror_is_said(mirror: Mirror, cache: str) -> None:
    means = mirror.means(cache)
    mirror.remove("nftables")
    error = failure(cache, means)
    assert isinstance(error, NotFound)
    assert "pinned to nftables 1.0" in error.message
    assert "--update-lock" in error.hint


def test_a_version_that_has_left_the_mirror_comes_from_where_it_is_kept(
    mirror: Mirror, cache: str, tmp_path: Path
) -> None:
    means = mirror.means(cache)
    kept = tmp_path / "snapshot"
    shutil.copytree(mirror.root, kept)
    mirror.remove("nftables")
    places = replace(mirror.places, archive=(*mirror.places.archive, "file:///nowhere", f"file://{kept}"))
    verify_image(build_image(cache, "x86_64", replace(means, places=places)))


@pytest.mark.parametrize(
    ("package", "files", "text"),
    [
        (KERNEL, {"boot/vmlinuz-1": b"x"}, "no kernel or no modules"),
        (KERNEL, {**kernel_files(b"no ELF")}, "no kernel that QEMU could boot"),
        (KERNEL, {**kernel_files(), f"lib/modules/{VERSION}/kernel/x/bad.ko": b"x"}, "cannot read the kernel module"),
        ("busybox-static", {}, "no file that fits usr/bin/busybox"),
        ("busybox-static", {"bin/busybox": make_elf()}, "no list of applets"),
        ("ca-certificates", {}, "no file that fits usr/share/ca-certificates/"),
    ],
)
def test_packages_that_have_changed_are_errors_of_one_line(
    mirror: Mirror, cache: str, package: str, files: dict[str, bytes], text: str
) -> None:
    error = failure(cache, mirror.means(cache, {**PACKAGES, package: files}))
    assert isinstance(error, PeerMisbehaved)
    assert text in error.message
    assert "\n" not in error.message


def test_a_module_that_the_kernel_has_lost_is_an_error(mirror: Mirror, cache: str) -> None:
    files = {path: data for path, data in kernel_files().items() if not path.endswith("/overlay.ko")}
    assert "no module overlay" in failure(cache, mirror.means(cache, {**PACKAGES, KERNEL: files})).message


@pytest.mark.parametrize("anew", [False, True])
def test_two_builders_at_once_make_one_image(
    mirror: Mirror, cache: str, anew: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    means = mirror.means(cache)
    images: list[tuple[GuestImage, int]] = []
    gathered = threading.Barrier(4)

    def write_slowly(tree: Tree, out: IO[bytes], mtime: int) -> int:
        time.sleep(0.3)
        return write_cpio(tree, out, mtime)

    monkeypatch.setattr(build, "write_cpio", write_slowly)

    def work() -> None:
        gathered.wait(60)
        image = build_image(cache, "x86_64", means, anew)
        images.append((image, os.stat(image.kernel).st_ino))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(images) == 4
    assert len(set(images)) == 1


def test_a_cache_that_cannot_be_made(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostFailed, match="cannot make the guest image"):
        build_image(str(tmp_path / "file"), "x86_64", mirror.means(str(tmp_path / "cache")))


def test_a_processor_that_there_is_no_image_for(mirror: Mirror, cache: str) -> None:
    with pytest.raises(Unsupported):
        build_image(cache, "riscv64", mirror.means(cache))
    with pytest.raises(Unsupported, match="arm64"):
        build_image(cache, "arm64", mirror.means(cache))


def test_ordinary_means_fall_back_on_debians_own_archive_and_its_past(tmp_path: Path) -> None:
    progress = Silent()
    fetcher = Fetcher(str(tmp_path / "debian"), progress, pause=0)
    means = plan_means(str(tmp_path), fetcher, progress, AptSettings(), "http://mirror.example/debian")
    moment = means.lock.snapshot
    assert means.places.archive == (
        "http://mirror.example/debian",
        "http://deb.debian.org/debian",
        f"http://snapshot.debian.org/archive/debian/{moment}",
    )
    assert means.places.security[-2:] == (
        "http://deb.debian.org/debian-security",
        f"http://snapshot.debian.org/archive/debian-security/{moment}",
    )
