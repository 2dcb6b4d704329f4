"""Operations on what files hold: open, read, write, and their kin.

The guest's page cache is kept from one open to the next only while size, mtime and ctime are what they were, and were
settled then: a change within the clock's tick, or one that sets the old mtime again, is found by ctime.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from guest_agent.wire.share_link import MAX_DATA
from hostvm.shares import libc
from hostvm.shares.entries import adopt, opened_folder
from hostvm.shares.errnos import EINVAL, EIO, ENOSYS, EOPNOTSUPP, Refusal
from hostvm.shares.fuse import (
    COPY_IN,
    CREATE_IN,
    FALLOCATE_IN,
    FOPEN_KEEP_CACHE,
    FSYNC_FDATASYNC,
    FSYNC_IN,
    LSEEK_IN,
    LSEEK_OUT,
    O_ACCMODE,
    O_APPEND,
    O_DSYNC,
    O_EXCL,
    O_SYNC,
    O_TRUNC,
    OPEN_IN,
    OPEN_KILL_SUIDGID,
    OPEN_OUT,
    READ_IN,
    RELEASE_IN,
    WRITE_CACHE,
    WRITE_IN,
    WRITE_KILL_SUIDGID,
    WRITE_OUT,
    Request,
)
from hostvm.shares.handles import Handle
from hostvm.shares.libc import Attributes
from hostvm.shares.nodes import Node
from hostvm.shares.state import ShareState, drop_privilege_bits
from hostvm.shares.walking import Place, open_regular

#: Coarser than the clock of any file system of today (HFS+ apart, which has seconds).
_SETTLED_NS = 50_000_000
#: A copy inside the host may take long; the guest asks again for the rest.
_COPY_LIMIT = 32 * 1024 * 1024
_LARGEST = 0x7FFFFFFFFFFFFFFF
#: fallocate(2): keep the size, punch a hole, and both halves of zeroing a range.
_FALLOCATE_MODES = (0, 1, 3, 0x10, 0x11)


@dataclass(frozen=True, slots=True)
class Slow:
    """The rest of an operation that may wait for the disk for long; to be run outside the server's thread."""

    run: Callable[[], bytes]


def open_(state: ShareState, request: Request) -> bytes:
    flags, open_flags = request.body.fields(OPEN_IN)
    node = state.table.get(request.node)
    with state.walker.place(node) as place:
        descriptor = open_regular(place, plan_flags(flags))
    return _opened(state, node, descriptor, flags, open_flags)


def plan_flags(flags: int) -> int:
    """The host's flags for Linux's. O_APPEND is a matter of each write: pages written back have an offset."""
    host = {0: os.O_RDONLY, 1: os.O_WRONLY}.get(flags & O_ACCMODE, os.O_RDWR)
    if flags & O_TRUNC and host != os.O_RDONLY:
        host |= os.O_TRUNC
    if flags & O_DSYNC:
        host |= os.O_SYNC if flags & O_SYNC == O_SYNC else os.O_DSYNC
    return host


def _opened(state: ShareState, node: Node, descriptor: int, flags: int, open_flags: int) -> bytes:
    number = state.handles.add(Handle(node.id, descriptor, flags & O_ACCMODE != 0))
    if open_flags & OPEN_KILL_SUIDGID:
        drop_privilege_bits(descriptor)
    keep = _keeps_cache(node, libc.stat_fd(descriptor), time.time_ns())
    return OPEN_OUT.pack(number, FOPEN_KEEP_CACHE if keep else 0, 0)


def _keeps_cache(node: Node, attributes: Attributes, now_ns: int) -> bool:
    """Whether what the guest has cached of the file is what the file holds; and from now on it is."""
    version = (attributes.size, attributes.mtime_ns, attributes.ctime_ns)
    keep = node.version == version
    node.version = version if now_ns - attributes.ctime_ns > _SETTLED_NS else None
    return keep


def create(state: ShareState, request: Request) -> bytes:
    flags, mode, _umask, open_flags = request.body.fields(CREATE_IN)
    name = request.body.name()
    parent = state.table.get(request.node)
    with state.walker.folder(parent) as folder:
        descriptor = _create(state, request, folder, name, flags, mode)
        try:
            entry = state.entry_at(folder, name, parent.id)
            node = state.table.find(libc.stat_fd(descriptor).key)
            if node is None or (parent.id, name) not in node.names:
                raise Refusal(EIO)  # the host put another file there in this instant
        except BaseException:
            os.close(descriptor)
            raise
    return entry + _opened(state, node, descriptor, flags, open_flags)


def _create(state: ShareState, request: Request, folder: int, name: bytes, flags: int, mode: int) -> int:
    try:
        host_flags = plan_flags(flags) | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, host_flags, 0o600, dir_fd=folder)
    except FileExistsError:
        if flags & O_EXCL:
            raise
        return open_regular(Place(folder, name, libc.stat_at(folder, name)), plan_flags(flags))
    try:
        adopt(state, request, folder, descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def release(state: ShareState, request: Request) -> bytes:
    number, *_ = request.body.fields(RELEASE_IN)
    if state.handles.find(number, request.node) is not None:
        state.handles.release(number)
    return b""


def read(state: ShareState, request: Request) -> bytes:
    number, offset, size, *_ = request.body.fields(READ_IN)
    handle = state.opened(number, state.table.get(request.node))
    return os.pread(handle.descriptor, min(size, MAX_DATA), _checked(offset))


def write(state: ShareState, request: Request) -> bytes:
    number, offset, size, write_flags, _owner, flags, _ = request.body.fields(WRITE_IN)
    data = request.body.data(size)
    handle = state.opened(number, state.table.get(request.node), writable=True)
    if flags & O_APPEND and not write_flags & WRITE_CACHE:
        written = _append(handle.descriptor, data)
    else:
        written = os.pwrite(handle.descriptor, data, _checked(offset))
    if write_flags & WRITE_KILL_SUIDGID:
        drop_privilege_bits(handle.descriptor)
    return WRITE_OUT.pack(written, 0)


def _append(descriptor: int, data: memoryview) -> int:
    """At the end as it is on the host: the guest's idea of it may be older than another writer's line."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
    try:
        return os.write(descriptor, data)
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)


def _checked(offset: int) -> int:
    if offset > _LARGEST:
        raise Refusal(EINVAL)
    return offset


def lseek(state: ShareState, request: Request) -> bytes:
    """SEEK_DATA and SEEK_HOLE; their numbers differ on macOS."""
    number, offset, whence, _ = request.body.fields(LSEEK_IN)
    names = {3: "SEEK_DATA", 4: "SEEK_HOLE"}
    host_whence = getattr(os, names.get(whence, ""), None)
    if host_whence is None:
        raise Refusal(EINVAL if whence not in names else EOPNOTSUPP)
    handle = state.opened(number, state.table.get(request.node))
    return LSEEK_OUT.pack(os.lseek(handle.descriptor, _checked(offset), host_whence))


def fsync(state: ShareState, request: Request) -> Slow:
    number, flags, _ = request.body.fields(FSYNC_IN)
    handle = state.handles.hold(state.opened(number, state.table.get(request.node)))
    return Slow(lambda: _sync(state, handle, flags))


def fsyncdir(state: ShareState, request: Request) -> Slow | bytes:
    number, flags, _ = request.body.fields(FSYNC_IN)
    handle = opened_folder(state, number, state.table.get(request.node))
    if handle.descriptor < 0:
        return b""
    state.handles.hold(handle)
    return Slow(lambda: _sync(state, handle, flags))


def _sync(state: ShareState, handle: Handle, flags: int) -> bytes:
    with state.handles.using(handle) as descriptor:
        if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync(2) alone leaves the data in the disk's own memory
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        elif flags & FSYNC_FDATASYNC:
            os.fdatasync(descriptor)
        else:
            os.fsync(descriptor)
    return b""


def fallocate(state: ShareState, request: Request) -> Slow:
    number, offset, length, mode, _ = request.body.fields(FALLOCATE_IN)
    if mode not in _FALLOCATE_MODES:
        raise Refusal(EOPNOTSUPP)
    _checked(offset + length)
    handle = state.handles.hold(state.opened(number, state.table.get(request.node), writable=True))

    def run() -> bytes:
        with state.handles.using(handle) as descriptor:
            libc.allocate(descriptor, mode, offset, length)
        return b""

    return Slow(run)


def copy_file_range(state: ShareState, request: Request) -> bytes:
    """Inside the host, without the data passing through the guest; ENOSYS makes the guest's kernel copy itself."""
    number_in, offset_in, node_out, number_out, offset_out, length, flags = request.body.fields(COPY_IN)
    if not hasattr(os, "copy_file_range"):
        raise Refusal(ENOSYS)
    if flags:
        raise Refusal(EINVAL)
    source = state.opened(number_in, state.table.get(request.node))
    target = state.opened(number_out, state.table.get(node_out), writable=True)
    size = min(length, _COPY_LIMIT)
    try:
        copied = os.copy_file_range(
            source.descriptor, target.descriptor, size, _checked(offset_in), _checked(offset_out)
        )
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise Refusal(EOPNOTSUPP) from None  # the guest's kernel falls back; it knows of one file system only
        raise
    return WRITE_OUT.pack(copied, 0)
