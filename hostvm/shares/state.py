"""What every operation works with, and the steps that many share."""

from __future__ import annotations

import contextlib
import os
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hostvm.shares import libc
from hostvm.shares.errnos import EACCES, EBADF, ENOENT, ESTALE, Refusal
from hostvm.shares.fuse import Validity, pack_entry
from hostvm.shares.handles import Handle, HandleTable
from hostvm.shares.journal import Journal
from hostvm.shares.libc import LINUX, Attributes
from hostvm.shares.nodes import Name, Node, NodeTable
from hostvm.shares.ownership import Owners, change_mode
from hostvm.shares.rules import Ancestor, Names
from hostvm.shares.walking import Walker, open_regular, reopen

_ANCESTOR_MODE = stat.S_IFDIR | 0o555
_LOST = (ENOENT, ESTALE)


@dataclass(frozen=True, slots=True)
class ShareState:
    """The one state of a server. Everything in it belongs to the server's thread."""

    table: NodeTable
    walker: Walker
    handles: HandleTable
    owners: Owners
    journal: Journal
    validity: Validity = field(default_factory=Validity)

    def entry(self, attributes: Attributes, name: Name, read: Callable[[bytes], bytes]) -> bytes:
        """The answer to whatever found or made a file: the guest's kernel holds its node from now on."""
        node, fresh = self.table.add(attributes.key, name, is_folder=stat.S_ISDIR(attributes.mode))
        if fresh:
            self.journal.named(node, name)
        self.owners.show(attributes, read)
        return pack_entry(node.id, attributes, self.validity)

    def entry_at(self, folder: int, component: bytes, parent: int) -> bytes:
        """The same of a name in an open folder."""
        attributes = libc.stat_at(folder, component)
        return self.entry(attributes, (parent, component), lambda name: libc.get_xattr_at(folder, component, name))

    def ancestor_entry(self, path: Names, name: Name) -> bytes:
        node, fresh = self.table.add_ancestor(path, name)
        if fresh:
            self.journal.named(node, name)
        return pack_entry(node.id, ancestor_attributes(path), self.validity)

    def attributes(self, node: Node, descriptor: int) -> Attributes:
        """Of an open or pinned file, as the guest sees it."""
        attributes = libc.stat_fd(descriptor)
        self.owners.show(attributes, lambda name: libc.get_xattr(descriptor, name))
        return attributes

    @contextlib.contextmanager
    def pinned(self, node: Node) -> Iterator[int]:
        """The node's file by any name it still has, else by what is open of it: files outlive their last name."""
        with contextlib.ExitStack() as stack:
            try:
                descriptor = stack.enter_context(self.walker.pin(node))
            except Refusal as refusal:
                descriptor = self._orphan(node, refusal)
            yield descriptor

    def _orphan(self, node: Node, refusal: Refusal) -> int:
        handles = self.handles.of_node(node.id) if refusal.number in _LOST else []
        if not handles:
            raise refusal
        return next((handle for handle in handles if handle.writable), handles[0]).descriptor

    def opened(self, number: int, node: Node, *, writable: bool = False) -> Handle:
        """The handle. A number of a server before this one (or a forged one) is opened anew, by its node."""
        handle = self.handles.find(number, node.id)
        if handle is None:
            handle = self._open_anew(node, writable)
            self.handles.add(handle, number)
        if handle.descriptor < 0:  # an ancestor's, which is no file
            raise Refusal(EBADF)
        return handle

    def _open_anew(self, node: Node, writable: bool) -> Handle:
        with self.walker.place(node) as place:
            try:
                return Handle(node.id, open_regular(place, os.O_RDWR), True)
            except OSError:
                if writable:
                    raise
                return Handle(node.id, open_regular(place, os.O_RDONLY))

    def open_for_writing(self, node: Node) -> int:
        """A descriptor to truncate by; the caller closes it."""
        try:
            with self.walker.place(node) as place:
                return open_regular(place, os.O_WRONLY)
        except Refusal as refusal:
            descriptor = self._orphan(node, refusal)
            return reopen(descriptor, os.O_WRONLY) if LINUX else os.dup(descriptor)

    def refuse_ancestor(self, node: Node) -> None:
        """Nothing can be changed there."""
        if self.walker.ancestor(node) is not None:
            raise Refusal(EACCES)

    def ancestor(self, node: Node) -> Ancestor | None:
        return self.walker.ancestor(node)


def ancestor_attributes(path: Names) -> Attributes:
    """A folder that leads to a share: the same every time."""
    return Attributes(
        dev=-1,
        ino=ancestor_inode(path),
        birth_ns=0,
        mode=_ANCESTOR_MODE,
        nlink=2,
        uid=0,
        gid=0,
        rdev=0,
        size=4096,
        blocks=8,
        blksize=4096,
        atime_ns=0,
        mtime_ns=0,
        ctime_ns=0,
    )


def ancestor_inode(path: Names) -> int:
    return zlib.crc32(b"/".join(path)) | 1 << 40


def drop_privilege_bits(descriptor: int) -> None:
    """What the kernel does on a write by a plain user: set-user-id goes, and set-group-id of an executable."""
    mode = libc.stat_fd(descriptor).mode
    kept = mode & ~stat.S_ISUID
    if mode & stat.S_IXGRP:
        kept &= ~stat.S_ISGID
    if kept != mode and stat.S_ISREG(mode):
        change_mode(descriptor, kept)


def now_ns() -> int:
    return time.time_ns()
