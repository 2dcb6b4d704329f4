"""From a node to a file of the host, never through a symbolic link.

Every operation starts at "/" with a path that the rules allow, opens the folder that holds the name without following
any link on the way, and compares what it finds there with the node's key. Links belong to the guest's kernel, which
reads them and resolves them inside the guest. So a guest that plants links, or that swaps folders for links while we
walk, gets ELOOP or ESTALE; and a folder that the host moved out of the share is out of reach from then on.

A *place* is an open folder and a name in it. A *pin* is a descriptor of the file itself (O_PATH on Linux), for
operations that must hit exactly the file that was checked.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from hostvm.shares import libc
from hostvm.shares.errnos import EACCES, EINVAL, EISDIR, ENOENT, ENOTDIR, ESTALE, Refusal
from hostvm.shares.libc import LINUX, Attributes
from hostvm.shares.nodes import Name, Node, NodeTable
from hostvm.shares.rules import Ancestor, Covered, Names, ShareRules

_FOLDER_FLAGS = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_PATH if LINUX else getattr(os, "O_SEARCH", 0))
#: macOS: O_EVTONLY needs no read permission, O_SYMLINK opens a link itself.
_PIN_FLAGS = os.O_CLOEXEC | (
    os.O_PATH | os.O_NOFOLLOW
    if LINUX
    else getattr(os, "O_EVTONLY", 0) | getattr(os, "O_SYMLINK", os.O_NOFOLLOW) | os.O_NONBLOCK
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is, and what was found there."""

    folder: int
    name: bytes
    attributes: Attributes


class Walker:
    """Follows the names of a table by the rules. Every descriptor that it opens is closed when the block is left."""

    def __init__(self, table: NodeTable, rules: ShareRules) -> None:
        self._table = table
        self.rules = rules

    def locate(self, path: Names) -> Covered | Ancestor:
        """Raises Refusal(EACCES) for what isn't shared."""
        found = self.rules.find(path)
        if found is None:
            raise Refusal(EACCES)
        return found

    def ancestor(self, node: Node) -> Ancestor | None:
        """None where the node is, or lies below, a path of the list."""
        if node.key is not None:
            return None
        found = self.locate(self._table.path(node))
        return found if isinstance(found, Ancestor) else None

    @contextlib.contextmanager
    def folder(self, node: Node) -> Iterator[int]:
        """The folder that the node is, to find names in. Refusal(EACCES) for an ancestor: nothing can be made there."""
        with self.place(node) as place:
            if not stat.S_ISDIR(place.attributes.mode):
                raise Refusal(ENOTDIR)
            descriptor = os.open(place.name, _FOLDER_FLAGS, dir_fd=place.folder)
            try:
                if node.key is not None and libc.stat_fd(descriptor).key != node.key:
                    raise Refusal(ESTALE)
                yield descriptor
            finally:
                os.close(descriptor)

    @contextlib.contextmanager
    def place(self, node: Node) -> Iterator[Place]:
        """Where the node is at present: a name of its own that still leads to it.

        Refusal(ESTALE) where none does; ENOENT where the guest itself has removed the last.
        """
        with contextlib.ExitStack() as stack:
            yield self._find_place(node, stack)

    def _find_place(self, node: Node, stack: contextlib.ExitStack) -> Place:
        hidden: Refusal | None = None
        for name in list(reversed(node.names)) or self._root_name(node):
            try:
                place = self._try_name(node, name, stack)
            except Refusal as refusal:
                hidden = refusal
                continue
            if place is not None:
                return place
            self._table.drop_name(node, name)
        if hidden is not None:
            raise hidden
        raise Refusal(ENOENT if node.removed else ESTALE)

    def _root_name(self, node: Node) -> list[Name]:
        """The root has no name; it has a place only where the whole host is shared."""
        return [(0, b"")] if node.key is None and not node.removed else []

    def _try_name(self, node: Node, name: Name, stack: contextlib.ExitStack) -> Place | None:
        path = self._table.path_of(name) if name[0] else ()
        found = self.locate(path)
        if isinstance(found, Ancestor):
            raise Refusal(EACCES)
        try:
            place = stack.enter_context(_open_place(found.real))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise
        return place if node.key is None or place.attributes.key == node.key else None

    @contextlib.contextmanager
    def root_of_share(self, path: Names) -> Iterator[Place]:
        """Where a path of the list is. Raises OSError where the host hasn't got it."""
        found = self.locate(path)
        assert isinstance(found, Covered)
        with _open_place(found.real) as place:
            yield place

    @contextlib.contextmanager
    def pin(self, node: Node) -> Iterator[int]:
        """A descriptor of exactly this file, whatever kind it is."""
        with self.place(node) as place, pin_place(place) as descriptor:
            yield descriptor


@contextlib.contextmanager
def pin_place(place: Place) -> Iterator[int]:
    """Raises Refusal(ESTALE) where the name was given to another file in between."""
    descriptor = os.open(place.name, _PIN_FLAGS, dir_fd=place.folder)
    try:
        if libc.stat_fd(descriptor).key != place.attributes.key:
            raise Refusal(ESTALE)
        yield descriptor
    finally:
        os.close(descriptor)


def open_regular(place: Place, flags: int) -> int:
    """Open its data. Only of a regular file: a device that a guest made would act on being opened."""
    if not stat.S_ISREG(place.attributes.mode):
        raise Refusal(EISDIR if stat.S_ISDIR(place.attributes.mode) else EINVAL)
    if LINUX:
        with pin_place(place) as pinned:
            return reopen(pinned, flags)
    descriptor = os.open(place.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place.folder)
    if libc.stat_fd(descriptor).key == place.attributes.key:
        return descriptor
    os.close(descriptor)
    raise Refusal(ESTALE)


def reopen(descriptor: int, flags: int) -> int:
    """Another descriptor of the same file, whatever became of its name. Linux only."""
    return os.open(f"/proc/self/fd/{descriptor}", flags | os.O_CLOEXEC)


@contextlib.contextmanager
def _open_place(real: Names) -> Iterator[Place]:
    """`real` has no symbolic link in it as far as the rules go; where it has one all the same, this is ELOOP."""
    folder = _open_folder(real[:-1])
    name = real[-1] if real else b"."
    try:
        yield Place(folder, name, libc.stat_at(folder, name))
    finally:
        os.close(folder)


def _open_folder(real: Names) -> int:
    try:
        return libc.open_without_links(-1, b"/" + b"/".join(real), _FOLDER_FLAGS)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENAMETOOLONG, errno.EPERM):  # EPERM: a seccomp filter
            raise
    return _open_folder_by_steps(real)


def _open_folder_by_steps(real: Names) -> int:
    """For every host, and for paths that are longer than a system call takes."""
    folder = os.open("/", _FOLDER_FLAGS)
    for name in real:
        try:
            below = os.open(name, _FOLDER_FLAGS, dir_fd=folder)
        finally:
            os.close(folder)
        folder = below
    return folder
