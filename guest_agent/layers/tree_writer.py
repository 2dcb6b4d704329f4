"""Entries of a layer's tar -> files below the working directory, with whiteouts as overlayfs wants them.

The caller has made the working directory the root (chroot), which is what keeps symbolic links inside. Names are
checked here all the same: a name with `..` is an error, a leading slash means the layer's root.

Whiteouts (OCI image-spec layer.md, kernel Documentation/filesystems/overlayfs.rst): `.wh.NAME` becomes a character
device 0:0 called NAME; `.wh..wh..opq` an xattr of the folder. A whiteout speaks of the layers below only: where the
same layer has NAME as well, in either order, NAME wins, and if it is a folder it is opaque.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from typing import Protocol

from guest_agent.store.tar import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMBOLIC_LINK,
    TarEntry,
    TarError,
    shown,
)

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
#: What says so to overlayfs, by whether it is mounted with `userxattr`.
OPAQUE_XATTR = {False: "trusted.overlay.opaque", True: "user.overlay.opaque"}
#: Notes of aufs, not content (image-spec layer.md).
_AUFS_NOTES = b".wh..wh."

_DEVICE_TYPE = {CHARACTER_DEVICE: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}
#: Names by which a layer could speak to overlayfs itself (redirects, metacopy) and reach into other layers.
_OVERLAY_XATTRS = (b"trusted.overlay.", b"user.overlay.")
_SKIPPED_XATTR_ERRORS = (errno.ENOTSUP, errno.EPERM)
_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


class _Maker(Protocol):
    def __call__(self, name: bytes, entry: TarEntry) -> None: ...


class TreeWriter:
    """Writes one layer. Methods raise OSError as the kernel gives it and TarError for what the layer does wrong.

    `rootless`: in a user namespace device nodes can't be made; they are left out, as every rootless engine does.
    """

    def __init__(self, opaque_xattr: str, rootless: bool, on_replace: Callable[[bytes], None] | None = None) -> None:
        """`on_replace` is told what is about to be removed, because a later entry has its name."""
        self._on_replace = on_replace
        self._opaque_xattr = opaque_xattr
        self._rootless = rootless
        self._whiteouts: set[bytes] = set()
        self._folder_times: dict[bytes, int] = {}
        self._open = -1
        self._entry: TarEntry | None = None
        self._makers: dict[bytes, _Maker] = {
            REGULAR: self._make_file,
            DIRECTORY: self._make_folder,
            SYMBOLIC_LINK: self._make_symlink,
            HARD_LINK: self._make_hard_link,
            CHARACTER_DEVICE: self._make_node,
            BLOCK_DEVICE: self._make_node,
            FIFO: self._make_node,
        }
        self.size = 0  #: bytes of content written so far

    def begin(self, entry: TarEntry) -> None:
        """Finish the entry before and make this one; its content follows by `write`."""
        self.close_entry()
        self._entry = entry
        name = inner_name(entry.name)
        folder, _, base = name.rpartition(b"/")
        if base.startswith(_WHITEOUT):
            self._take_whiteout(name, folder, base)
            return
        maker = self._find_maker(entry)
        replaced = name in self._whiteouts
        if replaced:
            self._whiteouts.discard(name)
            os.unlink(name)
        self._make(maker, name, entry)
        if replaced and entry.kind == DIRECTORY:
            self._mark_opaque(name)

    def write(self, piece: memoryview) -> None:
        """The next piece of the content."""
        self.size += len(piece)
        while piece and self._open >= 0:
            piece = piece[os.write(self._open, piece) :]

    def close_entry(self) -> None:
        if self._open >= 0:
            descriptor, self._open = self._open, -1
            assert self._entry is not None
            try:
                _set_xattrs(descriptor, self._entry)  # behind the content: what is written to loses its capabilities
                os.utime(descriptor, ns=(self._entry.mtime_ns, self._entry.mtime_ns))
            finally:
                os.close(descriptor)

    def finish(self) -> None:
        """The layer is complete: folders get their times, innermost first."""
        self.close_entry()
        for name, mtime_ns in reversed(self._folder_times.items()):
            if os.path.isdir(name) and not os.path.islink(name):
                os.utime(name, ns=(mtime_ns, mtime_ns))

    @property
    def keeps_content(self) -> bool:
        """Does the content of the entry in work go into a file? A whiteout's doesn't."""
        return self._open >= 0

    @property
    def where(self) -> str:
        """The entry in work, for messages."""
        return shown(self._entry.name) if self._entry else "the layer's start"

    def _find_maker(self, entry: TarEntry) -> _Maker:
        maker = self._makers.get(entry.kind)
        if maker is None:
            raise TarError(f"entry of the unknown type {shown(entry.kind)}")
        return maker

    def _make(self, maker: _Maker, name: bytes, entry: TarEntry) -> None:
        """Make it, first making way for it: a missing parent is made, what has the name is replaced."""
        try:
            maker(name, entry)
        except FileNotFoundError:
            _make_parents(name)
            maker(name, entry)
        except FileExistsError:
            if self._on_replace is not None:
                self._on_replace(name)
            _remove(name)
            maker(name, entry)

    def _make_file(self, name: bytes, entry: TarEntry) -> None:
        self._open = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, entry.mode)
        owned = bool(entry.uid or entry.gid)
        if owned:
            os.fchown(self._open, entry.uid, entry.gid)
        if owned or entry.mode & _SPECIAL_BITS:  # chown clears them
            os.fchmod(self._open, entry.mode)

    def _make_folder(self, name: bytes, entry: TarEntry) -> None:
        name = name or b"."
        try:
            os.mkdir(name, 0o700)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name).st_mode):
                raise
        os.chown(name, entry.uid, entry.gid, follow_symlinks=False)
        os.chmod(name, entry.mode)
        _set_xattrs(name, entry)
        self._folder_times[name] = entry.mtime_ns

    def _make_symlink(self, name: bytes, entry: TarEntry) -> None:
        os.symlink(entry.link, name)
        self._own(name, entry)

    def _make_hard_link(self, name: bytes, entry: TarEntry) -> None:
        target = inner_name(entry.link)
        if target == name:
            raise TarError(f"{shown(name)} is a hard link to itself")
        if not os.path.lexists(target):
            raise TarError(f"{shown(name)} is a hard link to {shown(entry.link)}, which isn't in the layer")
        os.link(target, name, follow_symlinks=False)

    def _make_node(self, name: bytes, entry: TarEntry) -> None:
        if self._rootless and entry.kind != FIFO:
            return
        os.mknod(name, _DEVICE_TYPE[entry.kind] | entry.mode, os.makedev(*entry.device))
        self._own(name, entry)
        os.chmod(name, entry.mode)

    def _own(self, name: bytes, entry: TarEntry) -> None:
        """Owner, xattrs and time of what isn't opened. (A symbolic link has no mode.)"""
        os.chown(name, entry.uid, entry.gid, follow_symlinks=False)
        _set_xattrs(name, entry)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)

    def _take_whiteout(self, name: bytes, folder: bytes, base: bytes) -> None:
        if base == _OPAQUE:
            _make_parents(name)
            self._mark_opaque(folder or b".")
        elif base.startswith(_AUFS_NOTES):
            return
        else:
            hidden = base.removeprefix(_WHITEOUT)
            if hidden in (b"", b".", b".."):
                raise TarError(f"whiteout of {shown(hidden)} in {shown(folder)}")
            self._hide(folder + b"/" + hidden if folder else hidden)

    def _hide(self, name: bytes) -> None:
        try:
            os.mknod(name, stat.S_IFCHR, 0)
        except FileNotFoundError:
            _make_parents(name)
            os.mknod(name, stat.S_IFCHR, 0)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(name).st_mode):
                self._mark_opaque(name)
            return
        self._whiteouts.add(name)

    def _mark_opaque(self, folder: bytes) -> None:
        os.setxattr(folder, self._opaque_xattr, b"y")


def inner_name(name: bytes) -> bytes:
    """The name relative to the layer's root, b"" for the root itself. TarError if it would lead outside."""
    if b".." not in name and b"//" not in name and b"./" not in name and not name.startswith((b"/", b".")):
        return name.removesuffix(b"/")  # the usual case, 3 times as fast
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise TarError(f"{shown(name)} leads outside of the layer")
    return b"/".join(parts)


def _make_parents(name: bytes) -> None:
    """Folders that the layer doesn't mention, as docker makes them. (`os.makedirs` would leave the outer ones 0777.)"""
    position = name.find(b"/")
    while position > 0:
        try:
            os.mkdir(name[:position], 0o755)
        except FileExistsError:
            pass
        position = name.find(b"/", position + 1)


def _remove(name: bytes) -> None:
    if stat.S_ISDIR(os.lstat(name).st_mode):
        shutil.rmtree(name)
    else:
        os.unlink(name)


def _set_xattrs(target: bytes | int, entry: TarEntry) -> None:
    """What the file system or the user namespace refuses is left out, as docker does."""
    for key, value in entry.xattrs.items():
        if key.startswith(_OVERLAY_XATTRS):
            continue
        try:
            if isinstance(target, int):
                os.setxattr(target, key, value)
            else:
                os.setxattr(target, key, value, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _SKIPPED_XATTR_ERRORS:
                raise
