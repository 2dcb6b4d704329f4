"""Operations on names: find, make, remove, rename, list."""

from __future__ import annotations

import errno
import os
import stat

from guest_agent.wire.share_link import MAX_DATA
from hostvm.shares import libc
from hostvm.shares.errnos import EACCES, EBADF, EINVAL, EIO, EPERM, ESTALE, Refusal
from hostvm.shares.fuse import (
    BATCH_FORGET_IN,
    FORGET_IN,
    FORGET_ONE,
    LINK_IN,
    MKDIR_IN,
    MKNOD_IN,
    OPEN_IN,
    OPEN_OUT,
    READ_IN,
    RELEASE_IN,
    RENAME2_IN,
    RENAME_IN,
    Request,
    pack_dirent,
    shown_inode,
)
from hostvm.shares.handles import Handle, Listing
from hostvm.shares.libc import RENAME_EXCHANGE, RENAME_NOREPLACE, Attributes
from hostvm.shares.nodes import Node
from hostvm.shares.ownership import change_mode
from hostvm.shares.rules import Ancestor
from hostvm.shares.state import ShareState, ancestor_inode
from hostvm.shares.walking import Place, pin_place

_MAKEABLE = (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK)
_UNKNOWN_INODE = 0xFFFFFFFF
#: File systems without these flags answer so.
_NO_FLAGS = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


def lookup(state: ShareState, request: Request) -> bytes:
    name = request.body.name()
    parent = state.table.get(request.node)
    ancestor = state.ancestor(parent)
    if ancestor is not None:
        return _lookup_in_ancestor(state, parent, ancestor, name)
    with state.walker.folder(parent) as folder:
        return state.entry_at(folder, name, parent.id)


def _lookup_in_ancestor(state: ShareState, parent: Node, ancestor: Ancestor, name: bytes) -> bytes:
    if name not in ancestor.children:
        raise Refusal(EACCES)
    path = (*state.table.path(parent), name)
    if isinstance(state.walker.locate(path), Ancestor):
        return state.ancestor_entry(path, (parent.id, name))
    with state.walker.root_of_share(path) as place:
        return state.entry(
            place.attributes, (parent.id, name), lambda one: libc.get_xattr_at(place.folder, place.name, one)
        )


def forget(state: ShareState, request: Request) -> None:
    (count,) = request.body.fields(FORGET_IN)
    _forget(state, request.node, count)


def batch_forget(state: ShareState, request: Request) -> None:
    count, _ = request.body.fields(BATCH_FORGET_IN)
    for _ in range(count):
        _forget(state, *request.body.fields(FORGET_ONE))


def _forget(state: ShareState, identity: int, count: int) -> None:
    node = state.table.forget(identity, count)
    if node is not None:
        state.journal.gone(node)


def readlink(state: ShareState, request: Request) -> bytes:
    """The text of the link; the guest's kernel resolves it, inside the guest."""
    with state.walker.place(state.table.get(request.node)) as place:
        return os.readlink(place.name, dir_fd=place.folder)


def symlink(state: ShareState, request: Request) -> bytes:
    name, target = request.body.name(), request.body.text()
    parent = state.table.get(request.node)
    with state.walker.folder(parent) as folder:
        os.symlink(target, name, dir_fd=folder)
        _adopt(state, request, folder, name, None)
        return state.entry_at(folder, name, parent.id)


def mkdir(state: ShareState, request: Request) -> bytes:
    mode, _umask = request.body.fields(MKDIR_IN)
    name = request.body.name()
    parent = state.table.get(request.node)
    with state.walker.folder(parent) as folder:
        os.mkdir(name, 0o700, dir_fd=folder)
        _adopt(state, request, folder, name, mode)
        return state.entry_at(folder, name, parent.id)


def mknod(state: ShareState, request: Request) -> bytes:
    """Files, fifos and sockets. No devices: what a guest makes must not open the host's hardware to anyone."""
    mode, _device, _umask, _ = request.body.fields(MKNOD_IN)
    name = request.body.name()
    kind = stat.S_IFMT(mode) or stat.S_IFREG
    if kind not in _MAKEABLE:
        raise Refusal(EPERM)
    parent = state.table.get(request.node)
    with state.walker.folder(parent) as folder:
        make_node(folder, name, kind)
        _adopt(state, request, folder, name, mode)
        return state.entry_at(folder, name, parent.id)


def make_node(folder: int, name: bytes, kind: int) -> None:
    """mknod(2); macOS has it for root only, but knows other ways for files and fifos."""
    if kind == stat.S_IFIFO:
        os.mkfifo(name, 0o600, dir_fd=folder)
    elif kind == stat.S_IFREG:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder))
    else:
        os.mknod(name, kind | 0o600, 0, dir_fd=folder)


def _adopt(state: ShareState, request: Request, folder: int, name: bytes, mode: int | None) -> None:
    """What was just made gets its owner and, whatever the server's umask, its mode."""
    with pin_place(Place(folder, name, libc.stat_at(folder, name))) as descriptor:
        adopt(state, request, folder, descriptor, mode)


def adopt(state: ShareState, request: Request, folder: int, descriptor: int, mode: int | None) -> None:
    """The same of an open or pinned file."""
    attributes = libc.stat_fd(descriptor)
    state.owners.adopt(descriptor, attributes, request.uid, request.gid, libc.stat_fd(folder).mode)
    if mode is not None:
        change_mode(descriptor, stat.S_IMODE(mode) | _inherited_bit(attributes))


def _inherited_bit(attributes: Attributes) -> int:
    """A folder made in a set-group-id folder is one itself."""
    return attributes.mode & stat.S_ISGID if stat.S_ISDIR(attributes.mode) else 0


def unlink(state: ShareState, request: Request) -> bytes:
    name = request.body.name()
    parent = state.table.get(request.node)
    with state.walker.folder(parent) as folder:
        attributes = libc.stat_at(folder, name)
        os.unlink(name, dir_fd=folder)
    _removed(state, attributes, parent, name)
    return b""


def rmdir(state: ShareState, request: Request) -> bytes:
    name = request.body.name()
    parent = state.table.get(request.node)
    with state.walker.folder(parent) as folder:
        attributes = libc.stat_at(folder, name)
        os.rmdir(name, dir_fd=folder)
    _removed(state, attributes, parent, name)
    return b""


def _removed(state: ShareState, attributes: Attributes, parent: Node, name: bytes) -> None:
    node = state.table.find(attributes.key)
    if node is not None:
        state.table.drop_name(node, (parent.id, name), removed=True)


def rename(state: ShareState, request: Request) -> bytes:
    (target,) = request.body.fields(RENAME_IN)
    return _rename(state, request, target, 0)


def rename2(state: ShareState, request: Request) -> bytes:
    target, flags, _ = request.body.fields(RENAME2_IN)
    if flags not in (0, RENAME_NOREPLACE, RENAME_EXCHANGE):
        raise Refusal(EINVAL)
    return _rename(state, request, target, flags)


def _rename(state: ShareState, request: Request, target: int, flags: int) -> bytes:
    old, new = request.body.name(), request.body.name()
    source, destination = state.table.get(request.node), state.table.get(target)
    with state.walker.folder(source) as from_folder, state.walker.folder(destination) as to_folder:
        moved = libc.stat_at(from_folder, old)
        replaced = _stat_if_there(to_folder, new)
        _rename_at(from_folder, old, to_folder, new, flags)
    _renamed(state, moved, (source.id, old), (destination.id, new))
    if replaced is None or replaced.key == moved.key:
        return b""
    if flags == RENAME_EXCHANGE:
        _renamed(state, replaced, (destination.id, new), (source.id, old))
    else:
        _removed(state, replaced, destination, new)
    return b""


def _renamed(state: ShareState, attributes: Attributes, old: tuple[int, bytes], new: tuple[int, bytes]) -> None:
    node = state.table.find(attributes.key)
    if node is not None:
        state.table.rename(node, old, new)
        state.journal.named(node, new)


def _stat_if_there(folder: int, name: bytes) -> Attributes | None:
    try:
        return libc.stat_at(folder, name)
    except FileNotFoundError:
        return None


def _rename_at(from_folder: int, old: bytes, to_folder: int, new: bytes, flags: int) -> None:
    if flags == 0:
        os.rename(old, new, src_dir_fd=from_folder, dst_dir_fd=to_folder)
        return
    try:
        libc.rename_at(from_folder, old, to_folder, new, flags)
    except OSError as error:
        if flags != RENAME_NOREPLACE or error.errno not in _NO_FLAGS:
            raise
        _rename_without_replacing(from_folder, old, to_folder, new)


def _rename_without_replacing(from_folder: int, old: bytes, to_folder: int, new: bytes) -> None:
    """For file systems that don't know the flag; somebody on the host may come in between, as with NFS."""
    if _stat_if_there(to_folder, new) is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(old, new, src_dir_fd=from_folder, dst_dir_fd=to_folder)


def link(state: ShareState, request: Request) -> bytes:
    (source,) = request.body.fields(LINK_IN)
    name = request.body.name()
    node, parent = state.table.get(source), state.table.get(request.node)
    state.refuse_ancestor(node)
    with state.walker.folder(parent) as folder, state.walker.place(node) as place:
        os.link(place.name, name, src_dir_fd=place.folder, dst_dir_fd=folder, follow_symlinks=False)
        if libc.stat_at(folder, name).key != place.attributes.key:  # somebody exchanged it on the host
            os.unlink(name, dir_fd=folder)
            raise Refusal(ESTALE)
        return state.entry_at(folder, name, parent.id)


def opendir(state: ShareState, request: Request) -> bytes:
    request.body.fields(OPEN_IN)
    node = state.table.get(request.node)
    number = state.handles.add(_open_folder(state, node))
    return OPEN_OUT.pack(number, 0, 0)


def _open_folder(state: ShareState, node: Node) -> Handle:
    if state.ancestor(node) is not None:
        return Handle(node.id, -1)
    with state.walker.folder(node) as folder:
        return Handle(node.id, os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder))


def readdir(state: ShareState, request: Request) -> bytes:
    """A folder is listed as it was when the reading began, so that nothing is missed or told twice meanwhile."""
    number, offset, size, *_ = request.body.fields(READ_IN)
    node = state.table.get(request.node)
    handle = opened_folder(state, number, node)
    if handle.listing is None or offset == 0:
        handle.listing = _list(state, node, handle)
    return _pack_listing(handle.listing, offset, min(size, MAX_DATA))


def opened_folder(state: ShareState, number: int, node: Node) -> Handle:
    """Of this server, or opened anew."""
    handle = state.handles.find(number, node.id)
    if handle is None:
        handle = _open_folder(state, node)
        state.handles.add(handle, number)
    return handle


def _list(state: ShareState, node: Node, handle: Handle) -> Listing:
    ancestor = state.ancestor(node)
    if ancestor is not None:
        path = state.table.path(node)
        children = [(ancestor_inode((*path, name)), name, stat.S_IFDIR >> 12) for name in ancestor.children]
        return _dots(ancestor_inode(path)) + children
    if handle.descriptor < 0:
        raise Refusal(EBADF)
    return _list_folder(handle.descriptor)


def _list_folder(descriptor: int) -> Listing:
    found = os.fstat(descriptor)
    device = found.st_dev
    listing = _dots(shown_inode(device, found.st_ino))
    with os.scandir(descriptor) as entries:
        listing += [(shown_inode(device, entry.inode()), os.fsencode(entry.name), _kind(entry)) for entry in entries]
    return listing


def _dots(inode: int) -> Listing:
    """Programs pass over entries whose inode is 0; the parent's is nobody's business."""
    return [(inode, b".", stat.S_IFDIR >> 12), (_UNKNOWN_INODE, b"..", stat.S_IFDIR >> 12)]


def _kind(entry: os.DirEntry[str]) -> int:
    """A DT_ constant, by what the listing itself says: 0 is "ask"."""
    if entry.is_symlink():
        return stat.S_IFLNK >> 12
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR >> 12
    return stat.S_IFREG >> 12 if entry.is_file(follow_symlinks=False) else 0


def _pack_listing(listing: Listing, offset: int, size: int) -> bytes:
    records: list[bytes] = []
    for position in range(min(offset, len(listing)), len(listing)):
        inode, name, kind = listing[position]
        record = pack_dirent(inode, position + 1, name, kind)
        size -= len(record)
        if size < 0:
            break
        records.append(record)
    return b"".join(records)


def releasedir(state: ShareState, request: Request) -> bytes:
    number, *_ = request.body.fields(RELEASE_IN)
    if state.handles.find(number, request.node) is None:
        raise Refusal(EIO)
    state.handles.release(number)
    return b""
