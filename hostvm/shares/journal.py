"""The node table on disk, so that a guest goes on when its server is another process.

The guest's kernel holds node ids for as long as it lives: the mounts of running containers begin at one. Every name
that becomes known is appended; nothing is synced, for a guest doesn't outlive its host. What was cut off by a kill -9
is the last record. Names that went wrong meanwhile are found out by whoever follows them, so that removals needn't be
written.

    header  magic, session
    record  NAMED node parent dev ino birth length component   |   GONE node
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator

from hostvm.shares.nodes import Name, Node, NodeTable

_MAGIC = b"hvnodes1"
_SESSION_SIZE = 8
#: kind, is an ancestor, length of the component; node, parent, dev, ino, birth
_RECORD = struct.Struct("<BBH4xQQQQq")
_NAMED = 1
_GONE = 2
#: Written anew when it holds this many records, and four times as many as there are nodes.
_REWRITE_AT = 20_000


class Journal:
    """Appends to one file; "" as path keeps nothing. Not thread-safe."""

    def __init__(self, path: str = "") -> None:
        self._path = path
        self._file = -1
        self._records = 0

    def open(self, session: bytes, table: NodeTable) -> None:
        """Fill the table with what is known of this session, and go on from there. Raises OSError."""
        self.close()
        if not self._path:
            return
        for kind, is_ancestor, identity, name, key in _read(self._path, session):
            if kind == _NAMED:
                table.restore(identity, None if is_ancestor else key, name)
            else:
                table.restore_gone(identity)
        table.restore_ancestors()
        self._rewrite(session, table)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def named(self, node: Node, name: Name) -> None:
        """The node has a name that it hadn't."""
        self._append(_pack_named(node, name))

    def gone(self, node: Node) -> None:
        """The kernel has forgotten it."""
        self._append(_RECORD.pack(_GONE, 0, 0, node.id, 0, 0, 0, 0))

    def wants_rewrite(self, nodes: int) -> bool:
        return self._file >= 0 and self._records >= _REWRITE_AT and self._records > 4 * nodes

    def rewrite(self, session: bytes, table: NodeTable) -> None:
        """Only what is still true. Where that fails, nothing is kept from then on."""
        self.close()
        with contextlib.suppress(OSError):
            self._rewrite(session, table)

    def _rewrite(self, session: bytes, table: NodeTable) -> None:
        temporary = f"{self._path}.new"
        records = [_pack_named(node, name) for node in table for name in node.names]
        with open(temporary, "wb", opener=_private) as file:
            file.write(_MAGIC + session + b"".join(records))
        os.replace(temporary, self._path)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._records = len(records)

    def _append(self, record: bytes) -> None:
        """A full disk costs the guest its open files at the server's next start, and nothing before."""
        if self._file < 0:
            return
        try:
            written = os.write(self._file, record)
        except OSError:
            written = 0
        if written < len(record):
            self.close()
        self._records += 1


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _pack_named(node: Node, name: Name) -> bytes:
    parent, component = name
    dev, ino, birth = node.key or (0, 0, 0)
    return _RECORD.pack(_NAMED, node.key is None, len(component), node.id, parent, dev, ino, birth) + component


_Parsed = tuple[int, int, int, Name, tuple[int, int, int]]


def _read(path: str, session: bytes) -> Iterator[_Parsed]:
    """Nothing where the file is of another session, or isn't there."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return
    position = len(_MAGIC) + _SESSION_SIZE
    if data[:position] != _MAGIC + session:
        return
    while position + _RECORD.size <= len(data):
        kind, is_ancestor, length, identity, parent, dev, ino, birth = _RECORD.unpack_from(data, position)
        position += _RECORD.size
        component = data[position : position + length]
        position += length
        if kind not in (_NAMED, _GONE) or len(component) < length:
            return
        yield kind, is_ancestor, identity, (parent, component), (dev, ino, birth)
