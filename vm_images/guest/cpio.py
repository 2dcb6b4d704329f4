"""A tree as an initramfs: the cpio format "newc" (kernel: Documentation/driver-api/early-userspace/buffer-format.rst).

The kernel unpacks it as root before anything runs, so an archive that an ordinary user wrote, on any system, carries
owners and device nodes. Entries come sorted, with one time for all and inodes that count up: the same tree gives the
same bytes. Hard links become symbolic ones, which needs no order among entries.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from dataclasses import dataclass
from typing import IO

from vm_images.tree import Kind, Node, Tree

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"
_BLOCK = 512
_TYPES = {Kind.FILE: 0o100000, Kind.DIRECTORY: 0o040000, Kind.SYMLINK: 0o120000}
_CHARACTER_DEVICE = 0o020000


@dataclass(frozen=True, slots=True)
class Device:
    """A character device. devtmpfs brings the rest of /dev, but init's first output needs a console before that."""

    path: str
    major: int
    minor: int
    mode: int = 0o600


DEVICES = (Device("dev/console", 5, 1), Device("dev/null", 1, 3, 0o666))


@dataclass(frozen=True, slots=True)
class _Entry:
    path: str
    mode: int
    data: bytes = b""
    major: int = 0
    minor: int = 0
    links: int = 1


def write_cpio(tree: Tree, out: IO[bytes], mtime: int, devices: Collection[Device] = DEVICES) -> int:
    """Writes the archive; its size. Every entry belongs to root."""
    for folder in {posixpath.dirname(it.path) for it in devices} - set(tree.nodes):
        tree.add_directory(folder)
    tree.add_parents()
    entries = {path: _entry(tree, path, node) for path, node in tree.nodes.items()}
    entries.update((it.path, _Entry(it.path, _CHARACTER_DEVICE | it.mode, b"", it.major, it.minor)) for it in devices)
    size = 0
    for inode, path in enumerate(sorted(entries), 1):
        size += out.write(encode_entry(entries[path], inode, mtime))
    size += out.write(encode_entry(_Entry(_TRAILER, 0), 0, 0))
    return size + out.write(bytes(-size % _BLOCK))


def _entry(tree: Tree, path: str, node: Node) -> _Entry:
    if node.kind is Kind.FILE:
        return _Entry(path, _TYPES[Kind.FILE] | node.mode, tree.read(path) or b"")
    if node.kind is Kind.DIRECTORY:
        return _Entry(path, _TYPES[Kind.DIRECTORY] | node.mode, links=2)
    target = node.target if node.kind is Kind.SYMLINK else posixpath.join("/", node.target)
    return _Entry(path, _TYPES[Kind.SYMLINK] | 0o777, target.encode())


def encode_entry(entry: _Entry, inode: int, mtime: int) -> bytes:
    """Header, name and contents, each padded to four bytes."""
    name = entry.path.encode() + b"\0"
    fields = (
        inode, entry.mode, 0, 0, entry.links, mtime, len(entry.data), 0, 0, entry.major, entry.minor, len(name), 0,
    )  # fmt: skip
    header = _MAGIC + b"".join(b"%08X" % field for field in fields) + name
    return header + bytes(-len(header) % 4) + entry.data + bytes(-len(entry.data) % 4)
