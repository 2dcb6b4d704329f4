"""Small files of the kinds that a guest image is made from: ELF programs, kernel modules, kernels; and their lock."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import zipfile
from dataclasses import dataclass, field

import zstandard

from guest_agent.wire.errors import HostvmError
from tests.unit.vm_images.small_archive import EPOCH, Files, Silent, make_deb
from vm_images.debian.download import Fetcher
from vm_images.debian.locked import LockedPackage, Places, Source
from vm_images.guest.build import Means
from vm_images.guest.contents import BOOT_MODULES
from vm_images.guest.elf import MACHINES
from vm_images.guest.lock import Lock, LockedArchitecture

VERSION = "6.12.1+deb12-cloud-amd64"
KERNEL = f"linux-image-{VERSION}"
_LOADED_AT = 0x400000


def make_elf(needed: tuple[str, ...] = (), interpreter: str = "", architecture: str = "amd64") -> bytes:
    """Headers, a dynamic section and its strings; no code."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    offsets = [strings.index(name.encode() + b"\0") for name in needed]
    start = 64 + 3 * 56
    named = interpreter.encode() + b"\0"
    dynamic_at = start + len(strings) + len(named)
    entries = [(5, _LOADED_AT + start), *((1, offset) for offset in offsets), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    size = dynamic_at + len(dynamic)
    headers = _segment(1, 0, _LOADED_AT, size) + _segment(2, dynamic_at, _LOADED_AT + dynamic_at, len(dynamic))
    headers += _segment(3 if interpreter else 0, start + len(strings), 0, len(named))
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = ident + struct.pack("<HHIQQQIHHHHHH", 3, MACHINES[architecture], 1, 0, 64, 0, 0, 64, 56, 3, 0, 0, 0)
    return head + headers + strings + named + dynamic


def _segment(kind: int, offset: int, address: int, size: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, 0, offset, address, address, size, size, 1)


def make_module(*entries: str) -> bytes:
    """An ELF file with a section .modinfo of these fields."""
    names = b"\0.modinfo\0.shstrtab\0"
    info = b"".join(it.encode() + b"\0" for it in entries)
    table_at = 64 + len(names) + len(info)
    head = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, table_at, 0, 64, 0, 0, 64, 3, 2)
    )
    table = bytes(64) + _section(1, 64 + len(names), len(info)) + _section(10, 64, len(names))
    return head + names + info + table


def _section(name: int, offset: int, size: int) -> bytes:
    return struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, offset, size, 0, 0, 1, 0)


def make_bzimage(vmlinux: bytes) -> bytes:
    """The boot sector with its header, one sector of setup, and the compressed payload at an offset of 16."""
    payload = zstandard.ZstdCompressor().compress(vmlinux)
    head = bytearray(1024)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 16, len(payload))
    return bytes(head) + bytes(16) + payload + b"what follows"


def make_arm_image() -> bytes:
    return bytes(56) + b"ARM\x64" + b"code"


def kernel_files(vmlinux: bytes = b"") -> Files:
    """A kernel package's files: every wanted module, none of which needs another."""
    folder = f"lib/modules/{VERSION}"
    builtin = ("fuse", "ext4")
    modules = {
        f"{folder}/kernel/x/{name}.ko": make_module(f"name={name}", "depends=")
        for name in BOOT_MODULES
        if name not in builtin
    }
    listed = "".join(f"kernel/x/{name}.ko\n" for name in builtin).encode()
    boot = {f"boot/vmlinuz-{VERSION}": make_bzimage(vmlinux or make_elf())}
    return {**boot, f"{folder}/modules.builtin": listed, **modules}


_APPLETS = b"\0".join(sorted(b"[ [[ ash cat echo kill ls mount ps sh stat umount".split()))

#: The least that `rootfs.finish` asks for.
PACKAGES: dict[str, Files] = {
    KERNEL: kernel_files(),
    "busybox-static": {"bin/busybox": make_elf() + b"\0" + _APPLETS + b"\0\0"},
    "ca-certificates": {
        "usr/share/ca-certificates/mozilla/B.crt": b"B",
        "usr/share/ca-certificates/mozilla/A.crt": b"A\n",
    },
    "libpython3.11-minimal": {"usr/lib/python3.11/os.py": b"names = {'b', 'a'}\nprint('x' in {'q', 'w', 'e', 'r'})\n"},
    "python3-h11": {"usr/lib/python3/dist-packages/h11/__init__.py": b"", "usr/share/doc/h11": b"not taken"},
    "nftables": {"usr/sbin/nft": make_elf(("libc.so.6",), "/lib64/ld-linux-x86-64.so.2")},
    "libc6": {
        "lib/x86_64-linux-gnu/libc.so.6": make_elf(),
        "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": make_elf(),
        "lib64/ld-linux-x86-64.so.2": make_elf(),
    },
}


def make_wheel() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as wheel:
        for name in ("isal/__init__.py", "isal/igzip.py", "isal-1.dist-info/METADATA"):
            wheel.writestr(name, "")
    return out.getvalue()


@dataclass
class Mirror:
    """A folder of packages as a mirror has them, with the lock that pins them."""

    root: str
    files: dict[str, Files] = field(default_factory=lambda: dict(PACKAGES))

    @property
    def places(self) -> Places:
        return Places((f"file://{self.root}",), (f"file://{self.root}",), (f"file://{self.root}",))

    def publish(self, files: dict[str, Files] | None = None) -> Lock:
        packages = [self._publish(name, make_deb(it)) for name, it in (files or self.files).items()]
        packages.append(self._publish("isal", make_wheel(), Source.PYPI))
        return Lock("bookworm", EPOCH, "20240101T000000Z", {"amd64": LockedArchitecture(KERNEL, tuple(packages))})

    def _publish(self, name: str, data: bytes, source: Source = Source.ARCHIVE) -> LockedPackage:
        path = f"pool/{name}_1.0"
        os.makedirs(f"{self.root}/pool", exist_ok=True)
        with open(f"{self.root}/{path}", "wb") as file:
            file.write(data)
        return LockedPackage(name, "1.0", source, path, len(data), hashlib.sha256(data).hexdigest())

    def remove(self, name: str) -> None:
        os.unlink(f"{self.root}/pool/{name}_1.0")

    def means(self, cache: str, files: dict[str, Files] | None = None) -> Means:
        progress = Silent()
        return Means(Fetcher(f"{cache}/debian", progress, pause=0), progress, self.publish(files), self.places)


def read_cpio(data: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """Each entry's mode, contents and device number. An independent reading of the format."""
    entries: dict[str, tuple[int, bytes, tuple[int, int]]] = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * index : at + 14 + 8 * index], 16) for index in range(13)]
        name = data[at + 110 : at + 110 + fields[11]].rstrip(b"\0").decode()
        start = at + 110 + fields[11] + (-(110 + fields[11]) % 4)
        if name == "TRAILER!!!":
            return entries
        entries[name] = (fields[1], data[start : start + fields[6]], (fields[9], fields[10]))
        at = start + fields[6] + (-fields[6] % 4)


def said(error: HostvmError) -> str:
    return json.dumps([error.message, error.hint])
