from __future__ import annotations

import io
import re

import pytest

from guest_agent.wire.errors import PeerMisbehaved
from tests.unit.vm_images.guest.parts import make_elf
from vm_images.guest.contents import BOOT_MODULES, LATE_MODULES, PACKAGES, fits, is_kept, kernel_pattern
from vm_images.guest.libraries import check_libraries, find_faults
from vm_images.rootfs import merged_usr
from vm_images.tree import Kind, Node, Tree


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("usr/lib/x86_64-linux-gnu/libc.so.6", "usr/lib/*-linux-gnu/*.so.*", True),
        ("usr/lib/x86_64-linux-gnu/gconv/libc.so.6", "usr/lib/*-linux-gnu/*.so.*", False),
        ("usr/lib/python3.11/a/b.py", "usr/lib/python3.11/**", True),
        ("usr/lib/python3.11/a/b.py", "usr/lib/python3.11/a/**", True),
        ("usr/lib/python3.11/ab/b.py", "usr/lib/python3.11/a/**", False),
        ("usr/lib/python3.11", "usr/lib/python3.11/**", False),
        ("usr/lib/python3.11/config-3.11/Makefile", "usr/lib/python3.11/config-*/**", True),
    ],
)
def test_patterns(path: str, pattern: str, expected: bool) -> None:
    assert fits(path, pattern) is expected


def test_two_stars_stand_at_the_end_only() -> None:
    """`fits` knows no others: `a/**/b/**` would be all below a."""
    assert not [it for patterns in PACKAGES.values() for it in patterns if "**" in it.removesuffix("/**")]


@pytest.mark.parametrize("name", ["asyncio/base_events", "concurrent/futures/thread", "ctypes/util", "sqlite3/dbapi2",
                                  "encodings/utf_8", "encodings/cp437", "encodings/idna", "tarfile"])  # fmt: skip
def test_the_engine_finds_its_libraries(name: str) -> None:
    assert is_kept(f"usr/lib/python3.11/{name}.py", PACKAGES["libpython3.11-stdlib"])


@pytest.mark.parametrize("name", ["unittest/case", "tkinter/ttk", "encodings/cp1250", "turtle"])
def test_what_nothing_in_the_guest_uses_is_left_out(name: str) -> None:
    assert not is_kept(f"usr/lib/python3.11/{name}.py", PACKAGES["libpython3.11-stdlib"])


def test_only_signed_kernels_of_the_series_fit() -> None:
    pattern = re.compile(kernel_pattern("amd64"))
    assert pattern.fullmatch("linux-image-6.12.117+deb12-cloud-amd64")
    for name in (
        "6.12-cloud-amd64",
        "6.12.117+deb12-cloud-amd64-unsigned",
        "6.1.0-56-cloud-amd64",
        "6.12.1+deb12-amd64",
    ):
        assert not pattern.fullmatch(f"linux-image-{name}")


def test_no_module_is_named_twice() -> None:
    names = (*BOOT_MODULES, *LATE_MODULES)
    assert len(names) == len(set(names))


def make_tree(architecture: str = "amd64") -> Tree:
    tree = Tree(io.BytesIO(), 0, merged_usr(architecture))
    tree.add_file("usr/lib/x86_64-linux-gnu/libc-2.36.so", make_elf())
    tree.nodes["usr/lib/x86_64-linux-gnu/libc.so.6"] = Node(Kind.SYMLINK, 0o777, target="libc-2.36.so")
    tree.add_file("usr/lib/x86_64-linux-gnu/ld.so", make_elf())
    tree.nodes["usr/lib64/ld.so"] = Node(Kind.SYMLINK, 0o777, target="/lib/x86_64-linux-gnu/ld.so")
    return tree.add_file("usr/bin/nft", make_elf(("libc.so.6",), "/lib64/ld.so"), 0o755)


def test_libraries_are_found_through_links() -> None:
    check_libraries(make_tree(), "amd64")


def test_a_missing_library_is_an_error_that_names_who_needs_it() -> None:
    tree = make_tree().add_file("usr/lib/x86_64-linux-gnu/libx.so.1", make_elf(("liby.so.2",)))
    with pytest.raises(PeerMisbehaved, match=r"/usr/lib/x86_64-linux-gnu/libx\.so\.1 needs liby\.so\.2"):
        check_libraries(tree, "amd64")


def test_a_dangling_link_a_missing_loader_and_a_foreign_program_are_errors() -> None:
    tree = make_tree()
    del tree.nodes["usr/lib/x86_64-linux-gnu/libc-2.36.so"]
    del tree.nodes["usr/lib/x86_64-linux-gnu/ld.so"]
    tree.add_file("usr/bin/crun", make_elf(architecture="arm64"))
    assert list(find_faults(tree, "amd64")) == [
        "/usr/bin/crun is of another architecture",
        "/usr/bin/nft needs libc.so.6",
        "/usr/bin/nft needs /lib64/ld.so",
    ]


def test_a_damaged_program_is_an_error() -> None:
    with pytest.raises(PeerMisbehaved, match="cannot read /usr/bin/nft"):
        check_libraries(make_tree().add_file("usr/bin/nft", make_elf(("libc.so.6",))[:80]), "amd64")
