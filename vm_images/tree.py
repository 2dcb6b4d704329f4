"""A file system being made: nodes by path, contents in one spool file, written as a deterministic tar.

Paths have no leading slash; "" is the root and isn't a node. A tree may have *aliases*, top-level names that are links
to folders (merged /usr: `bin` -> `usr/bin`): what comes in below one lands in the folder, as it would on a disk.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import IO, BinaryIO, Self

from guest_agent.wire.errors import PeerMisbehaved

_XATTR = "SCHILY.xattr."
_COPY_CHUNK = 1 << 20

#: Whether a tar's member, at this path of the tree, belongs into it.
Wanted = Callable[[str, tarfile.TarInfo], bool]


class Kind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    DEVICE = "device"


_TAR_TYPES = {
    Kind.FILE: tarfile.REGTYPE, Kind.DIRECTORY: tarfile.DIRTYPE, Kind.SYMLINK: tarfile.SYMTYPE,
    Kind.HARDLINK: tarfile.LNKTYPE,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    """`target` is a link's; a hard link's is a path in the tree. Contents are `size` bytes of the spool at `offset`."""

    kind: Kind
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    target: str = ""
    offset: int = 0
    size: int = 0
    xattrs: tuple[tuple[str, str], ...] = ()


class Tree:
    """Nodes in memory, contents in `spool` (a temporary file that the caller opened and closes)."""

    def __init__(self, spool: BinaryIO, mtime: int = 0, aliases: Iterable[tuple[str, str]] = ()) -> None:
        self.nodes: dict[str, Node] = {}
        self._spool = spool
        self._mtime = mtime
        self._aliases = dict(aliases)
        for name, folder in self._aliases.items():
            self.add_directory(folder)
            self.nodes[name] = Node(Kind.SYMLINK, 0o777, mtime=mtime, target=folder)

    def add_directory(self, path: str, mode: int = 0o755) -> Self:
        self.nodes[path] = Node(Kind.DIRECTORY, mode, mtime=self._mtime)
        return self

    def add_file(self, path: str, data: bytes, mode: int = 0o644) -> Self:
        """A file that belongs to root."""
        offset, size = self._keep(io.BytesIO(data))
        self.nodes[path] = Node(Kind.FILE, mode, mtime=self._mtime, offset=offset, size=size)
        return self

    def read(self, path: str) -> bytes | None:
        """A file's contents, or None where there is no such file."""
        node = self.nodes.get(path)
        if node is None or node.kind is not Kind.FILE:
            return None
        self._spool.seek(node.offset)
        return self._spool.read(node.size)

    def merge(self, archive: tarfile.TarFile, wanted: Wanted = lambda path, member: True) -> None:
        """Adds the members of a tar that are `wanted`; a later file replaces an earlier one. Raises PeerMisbehaved."""
        for member in archive:
            path = self._place(member.name)
            if not path or not wanted(path, member) or (member.isdir() and path in self._aliases):
                continue
            self.nodes[path] = self._node(archive, member)

    def _place(self, name: str) -> str:
        """Where a member goes. Raises PeerMisbehaved for a name that leads outside."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise PeerMisbehaved(f"an archive names a path outside of its root: {name!r}")
        if len(parts) > 1 or (parts and parts[0] not in self._aliases):
            parts[:1] = [self._aliases.get(parts[0], parts[0])]
        return "/".join(parts)

    def _node(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Node:
        xattrs = tuple(sorted((key, value) for key, value in member.pax_headers.items() if key.startswith(_XATTR)))
        node = Node(Kind.DEVICE, member.mode & 0o7777, member.uid, member.gid, int(member.mtime), xattrs=xattrs)
        if member.isdir():
            return replace(node, kind=Kind.DIRECTORY)
        if member.issym():
            return replace(node, kind=Kind.SYMLINK, mode=0o777, target=member.linkname)
        if member.islnk():
            return replace(node, kind=Kind.HARDLINK, target=self._place(member.linkname))
        if member.isreg():
            content = archive.extractfile(member)
            assert content is not None
            offset, size = self._keep(content)
            return replace(node, kind=Kind.FILE, offset=offset, size=size)
        return node

    def _keep(self, content: IO[bytes]) -> tuple[int, int]:
        """Copies contents to the spool's end: (offset, size)."""
        offset = size = self._spool.seek(0, io.SEEK_END)
        while chunk := content.read(_COPY_CHUNK):
            size += self._spool.write(chunk)
        return offset, size - offset

    def write(self, out: IO[bytes]) -> None:
        """The tar: sorted by path, no time after the tree's own, no owner's names, parents before children."""
        self.add_parents()
        nodes = self._resolve_hard_links()
        with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_COPY_CHUNK) as archive:
            for path in sorted(nodes):
                node = nodes[path]
                if node.kind is Kind.DEVICE:
                    continue  # the runtime makes /dev; nothing else of an image's tree is one
                self._spool.seek(node.offset)
                archive.addfile(self._tar_info(path, node), self._spool if node.kind is Kind.FILE else None)

    def _tar_info(self, path: str, node: Node) -> tarfile.TarInfo:
        info = tarfile.TarInfo(path)
        info.type = _TAR_TYPES[node.kind]
        info.mode, info.uid, info.gid, info.linkname = node.mode, node.uid, node.gid, node.target
        info.mtime = min(node.mtime, self._mtime)
        info.size = node.size if node.kind is Kind.FILE else 0
        info.pax_headers = dict(node.xattrs)
        return info

    def add_parents(self) -> None:
        """A node for every folder that only the paths below it name."""
        for path in list(self.nodes):
            while path := path.rpartition("/")[0]:
                if path not in self.nodes:
                    self.add_directory(path)

    def _resolve_hard_links(self) -> dict[str, Node]:
        """The nodes with the first path of each set of hard links as the file: a tar's link must follow its file."""
        groups: dict[str, list[str]] = {}
        for path, node in self.nodes.items():
            if node.kind is Kind.HARDLINK:
                groups.setdefault(node.target, [node.target]).append(path)
        nodes = dict(self.nodes)
        for target, paths in groups.items():
            if target not in nodes:
                raise PeerMisbehaved(f"an archive links to {target!r}, which it doesn't have")
            first, *others = sorted(paths)
            nodes[first] = self.nodes[target]
            nodes.update((path, Node(Kind.HARDLINK, 0o644, mtime=nodes[first].mtime, target=first)) for path in others)
        return nodes
