"""Operations on what a file is, not on what it holds: attributes, owners, times, extended attributes."""

from __future__ import annotations

import errno
import os

from hostvm.shares import libc
from hostvm.shares.errnos import EACCES, ENODATA, ENOENT, EOPNOTSUPP, EPERM, ERANGE, ESTALE, Refusal
from hostvm.shares.fuse import (
    FATTR_ATIME,
    FATTR_ATIME_NOW,
    FATTR_FH,
    FATTR_GID,
    FATTR_KILL_SUIDGID,
    FATTR_MODE,
    FATTR_MTIME,
    FATTR_MTIME_NOW,
    FATTR_SIZE,
    FATTR_UID,
    GETATTR_FH,
    GETATTR_IN,
    GETXATTR_IN,
    GETXATTR_OUT,
    SETATTR_IN,
    SETXATTR_IN,
    Request,
    join_time,
    pack_attr_out,
    pack_statfs,
)
from hostvm.shares.libc import LINUX, Attributes
from hostvm.shares.nodes import Node
from hostvm.shares.ownership import ATTRIBUTE, change_mode
from hostvm.shares.state import ShareState, ancestor_attributes, drop_privilege_bits, now_ns

_KEEP = 0xFFFFFFFF
#: The guest keeps to user.*; the others speak of the host's kernel and its security, and are nobody's business inside.
_VISIBLE = b"user."


def getattr_(state: ShareState, request: Request) -> bytes:
    flags, _, number = request.body.fields(GETATTR_IN)
    node = state.table.get(request.node)
    if state.ancestor(node) is not None:
        return pack_attr_out(ancestor_attributes(state.table.path(node)), state.validity)
    handle = state.handles.find(number, node.id) if flags & GETATTR_FH else None
    attributes = state.attributes(node, handle.descriptor) if handle is not None else _attributes_by_name(state, node)
    return pack_attr_out(attributes, state.validity)


def _attributes_by_name(state: ShareState, node: Node) -> Attributes:
    """Without opening the file; by what is open of it, where it has no name any more."""
    try:
        with state.walker.place(node) as place:
            state.owners.show(place.attributes, lambda name: libc.get_xattr_at(place.folder, place.name, name))
            return place.attributes
    except Refusal as refusal:
        if refusal.number not in (ENOENT, ESTALE):
            raise
        with state.pinned(node) as descriptor:
            return state.attributes(node, descriptor)


def setattr_(state: ShareState, request: Request) -> bytes:
    (
        valid, _, number, size, _lock_owner, atime, mtime, _ctime, atime_ns, mtime_ns, _ctime_ns, mode, _, uid, gid, _,
    ) = request.body.fields(SETATTR_IN)  # fmt: skip
    node = state.table.get(request.node)
    state.refuse_ancestor(node)
    times = plan_times(valid, (atime, atime_ns), (mtime, mtime_ns))
    with state.pinned(node) as descriptor:
        if valid & (FATTR_UID | FATTR_GID):
            ids = (uid if valid & FATTR_UID else _KEEP, gid if valid & FATTR_GID else _KEEP)
            state.owners.change(descriptor, libc.stat_fd(descriptor), *ids, request.uid)
        if valid & FATTR_SIZE:
            _truncate(state, node, number if valid & FATTR_FH else 0, size)
        if valid & FATTR_KILL_SUIDGID:
            drop_privilege_bits(descriptor)
        if valid & FATTR_MODE:
            change_mode(descriptor, mode)
        if times is not None:
            _set_times(descriptor, *times)
        return pack_attr_out(state.attributes(node, descriptor), state.validity)


Time = int | None  #: nanoseconds; None leaves it as it is


def plan_times(valid: int, atime: tuple[int, int], mtime: tuple[int, int]) -> tuple[Time, Time] | None:
    """(atime, mtime) to set; None where neither is asked for."""
    if not valid & (FATTR_ATIME | FATTR_MTIME):
        return None
    return (
        _plan_time(valid & FATTR_ATIME, valid & FATTR_ATIME_NOW, atime),
        _plan_time(valid & FATTR_MTIME, valid & FATTR_MTIME_NOW, mtime),
    )


def _plan_time(wanted: int, now: int, value: tuple[int, int]) -> Time:
    if not wanted:
        return None
    return now_ns() if now else join_time(*value)


def _set_times(descriptor: int, atime: Time, mtime: Time) -> None:
    present = libc.stat_fd(descriptor)
    times = (present.atime_ns if atime is None else atime, present.mtime_ns if mtime is None else mtime)
    try:
        os.utime(f"/proc/self/fd/{descriptor}" if LINUX else descriptor, ns=times)
    except OverflowError:
        raise Refusal(EPERM) from None


def _truncate(state: ShareState, node: Node, number: int, size: int) -> None:
    handle = state.handles.find(number, node.id) if number else None
    if handle is not None and handle.writable:
        truncate(handle.descriptor, size)
        return
    descriptor = state.open_for_writing(node)
    try:
        truncate(descriptor, size)
    finally:
        os.close(descriptor)


def truncate(descriptor: int, size: int) -> None:
    """ftruncate(2), for sizes that the guest made up too."""
    if size > 0x7FFFFFFFFFFFFFFF:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    os.ftruncate(descriptor, size)


def statfs(state: ShareState, request: Request) -> bytes:
    """Of the host's file system that the node lies on; the ancestors have nothing."""
    node = state.table.get(request.node)
    if state.ancestor(node) is not None:
        return pack_statfs(blocks=0, free=0, available=0, files=0, files_free=0, block_size=4096, fragment_size=4096)
    with state.pinned(node) as descriptor:
        found = os.fstatvfs(descriptor)
    return pack_statfs(
        blocks=found.f_blocks,
        free=found.f_bfree,
        available=found.f_bavail,
        files=found.f_files,
        files_free=found.f_ffree,
        block_size=min(found.f_bsize, 1 << 20),
        fragment_size=found.f_frsize,
    )


def getxattr(state: ShareState, request: Request) -> bytes:
    size, _ = request.body.fields(GETXATTR_IN)
    name = _visible_name(request.body.text())
    node = state.table.get(request.node)
    if state.ancestor(node) is not None:
        raise Refusal(ENODATA)
    with state.pinned(node) as descriptor:
        return _sized(libc.get_xattr(descriptor, name), size)


def listxattr(state: ShareState, request: Request) -> bytes:
    size, _ = request.body.fields(GETXATTR_IN)
    node = state.table.get(request.node)
    if state.ancestor(node) is not None:
        return _sized(b"", size)
    with state.pinned(node) as descriptor:
        names = [name for name in libc.list_xattrs(descriptor) if name.startswith(_VISIBLE) and name != ATTRIBUTE]
    return _sized(b"".join(name + b"\0" for name in names), size)


def _sized(value: bytes, size: int) -> bytes:
    """Size 0 asks how long it is."""
    if size == 0:
        return GETXATTR_OUT.pack(len(value), 0)
    if len(value) > size:
        raise Refusal(ERANGE)
    return value


def setxattr(state: ShareState, request: Request) -> bytes:
    size, flags = request.body.fields(SETXATTR_IN)
    name = _visible_name(request.body.text())
    value = bytes(request.body.data(size))
    node = state.table.get(request.node)
    state.refuse_ancestor(node)
    if flags not in (0, 1, 2):
        raise Refusal(EOPNOTSUPP)
    with state.pinned(node) as descriptor:
        libc.set_xattr(descriptor, name, value, flags)
    return b""


def removexattr(state: ShareState, request: Request) -> bytes:
    name = _visible_name(request.body.text())
    node = state.table.get(request.node)
    state.refuse_ancestor(node)
    with state.pinned(node) as descriptor:
        libc.remove_xattr(descriptor, name)
    return b""


def _visible_name(name: bytes) -> bytes:
    if not name.startswith(_VISIBLE) or len(name) > 255:
        raise Refusal(EOPNOTSUPP)
    if name == ATTRIBUTE:
        raise Refusal(EACCES)
    return name
