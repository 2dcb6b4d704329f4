"""cpio, ELF, kernels and bytecode: bytes in, bytes out."""

from __future__ import annotations

import gzip
import io
import lzma
import marshal
import os
import struct
import subprocess
import sys
from types import CodeType

import pytest

from guest_agent.wire.errors import PeerMisbehaved
from tests.unit.vm_images.guest.parts import make_arm_image, make_bzimage, make_elf, read_cpio
from vm_images.guest.bytecode import can_compile, compile_source, compiled_path
from vm_images.guest.cpio import write_cpio
from vm_images.guest.elf import parse_elf
from vm_images.guest.kernel import extract_kernel
from vm_images.tree import Kind, Node, Tree

SOURCE = b"NAMES = {'b': 1}\ndef f(x: int) -> bool:\n    return x in {'a', 'b', 'c', 'd', 'e', 'f'}\n"


def make_cpio(*paths: str) -> bytes:
    tree = Tree(io.BytesIO(), 5)
    for path in paths:
        tree.add_file(path, path.encode(), 0o644)
    tree.nodes["usr/bin/link"] = Node(Kind.SYMLINK, 0o777, target="../a")
    tree.nodes["usr/bin/hard"] = Node(Kind.HARDLINK, 0o755, target="usr/a")
    out = io.BytesIO()
    assert write_cpio(tree, out, 7) == len(out.getvalue())
    return out.getvalue()


def test_cpio_holds_files_folders_links_and_devices() -> None:
    entries = read_cpio(make_cpio("usr/a"))
    assert entries["usr/a"][:2] == (0o100644, b"usr/a")
    assert entries["usr"][0] == entries["usr/bin"][0] == 0o040755
    assert entries["usr/bin/link"][:2] == (0o120777, b"../a")
    assert entries["usr/bin/hard"][:2] == (0o120777, b"/usr/a")
    assert entries["dev/console"] == (0o020600, b"", (5, 1))
    assert entries["dev/null"] == (0o020666, b"", (1, 3))


def test_cpio_lists_folders_before_what_is_in_them() -> None:
    names = list(read_cpio(make_cpio("usr/a", "b/c/d")))
    assert all(names.index(name.rpartition("/")[0]) < at for at, name in enumerate(names) if "/" in name)


def test_cpio_does_not_depend_on_the_order_of_insertion() -> None:
    assert make_cpio("usr/a", "b", "z/y") == make_cpio("z/y", "usr/a", "b")


def test_cpio_ends_at_a_block() -> None:
    """Another archive can follow: the kernel takes them one after another."""
    data = make_cpio("usr/a")
    assert len(data) % 512 == 0
    assert data.rstrip(b"\0").endswith(b"TRAILER!!!")


def test_elf_names_its_libraries_and_its_loader() -> None:
    elf = parse_elf(make_elf(("libc.so.6", "libm.so.6"), "/lib/ld.so", "arm64"))
    assert elf.needed == ("libc.so.6", "libm.so.6")
    assert (elf.interpreter, elf.machine) == ("/lib/ld.so", 183)
    assert parse_elf(make_elf()).needed == ()


@pytest.mark.parametrize("size", range(16, len(make_elf(("libc.so.6",), "/x")) - 1, 7))
def test_a_cut_elf_file_is_an_error_or_says_less(size: int) -> None:
    try:
        parse_elf(make_elf(("libc.so.6",), "/x")[:size])
    except ValueError:
        pass  # nothing else may come out


def test_vmlinux_comes_out_of_the_bzimage() -> None:
    assert extract_kernel(make_bzimage(make_elf()), "amd64") == make_elf()


def test_arm_images_come_out_of_what_they_are_wrapped_in() -> None:
    image = make_arm_image()
    packed = gzip.compress(image)
    zboot = b"MZ\0\0zimg" + struct.pack("<II", 64, len(packed)) + bytes(48) + packed
    assert [extract_kernel(it, "arm64") for it in (image, packed, lzma.compress(image), zboot)] == [image] * 4


@pytest.mark.parametrize(
    ("data", "architecture"),
    [
        (b"", "amd64"), (b"x" * 2048, "amd64"), (make_bzimage(b"no ELF"), "amd64"), (make_bzimage(b"")[:1100], "amd64"),
        (b"", "arm64"), (b"x" * 2048, "arm64"), (gzip.compress(make_arm_image(), mtime=0)[:-9], "arm64"),
    ],
)  # fmt: skip
def test_what_is_no_kernel_is_an_error_of_one_line(data: bytes, architecture: str) -> None:
    with pytest.raises(PeerMisbehaved, match="no kernel that QEMU could boot") as caught:
        extract_kernel(data, architecture)
    assert "\n" not in caught.value.message


def test_bytecode_is_taken_without_a_look_at_the_source() -> None:
    data = compile_source(SOURCE, "/usr/lib/x.py")
    assert struct.unpack_from("<I", data, 4) == (1,)  # PEP 552: hash-based, not checked
    code = marshal.loads(data[16:])
    assert isinstance(code, CodeType)
    assert code.co_filename == "/usr/lib/x.py"


def test_bytecode_is_the_same_in_every_run() -> None:
    script = (
        "import sys; from vm_images.guest.bytecode import compile_source;"
        f"sys.stdout.buffer.write(compile_source({SOURCE!r}, '/x.py'))"
    )
    environments = [{**os.environ, "PYTHONHASHSEED": seed} for seed in ("1", "2", "3")]
    runs = [
        subprocess.run([sys.executable, "-c", script], env=it, capture_output=True, check=True, timeout=60)
        for it in environments
    ]
    assert {run.stdout for run in runs} == {compile_source(SOURCE, "/x.py")}


def test_bytecode_lies_where_the_guest_looks() -> None:
    assert compiled_path("usr/lib/python3.11/a/b.py", "3.11") == "usr/lib/python3.11/a/__pycache__/b.cpython-311.pyc"


def test_another_python_makes_none() -> None:
    assert can_compile("{}.{}".format(*sys.version_info[:2]))
    assert not can_compile("3.2")
