"""What the guest's kernel knows: node ids, and the names under which each was found.

A *node* is a file of the host, known by device, inode and birth. It has as many names as hard links were looked up; a
name is a parent node and a component. Names may be wrong at any time, for the host changes under us: whoever follows
one compares what he finds with the node's key (`walking`). Ids are never used again, not even by another process: they
begin at a random number. *Ancestors*, which only lead to a share, are known by their path.

The kernel counts its look-ups, and gives them back by FORGET; a node with none left goes. A node that was read back
from the journal has an unknown count, and stays.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from hostvm.shares.errnos import ENOMEM, ESTALE, Refusal
from hostvm.shares.fuse import ROOT
from hostvm.shares.rules import Names

Key = tuple[int, int, int]
Name = tuple[int, bytes]  #: of a parent's node, and a component

#: A guest that looks up files forever gets ENOMEM at some time. A node takes about 1 KiB.
NODES_LIMIT = 1_000_000
_DEPTH_LIMIT = 512


@dataclass(slots=True, eq=False)
class Node:
    """One file or folder, or an ancestor (then `key` is None)."""

    id: int
    key: Key | None
    names: dict[Name, None] = field(default_factory=dict)  #: the latest one last
    lookups: int = 0
    kept: bool = False  #: the count is unknown
    removed: bool = False  #: the guest itself took the last name away
    version: tuple[int, int, int] | None = None  #: size, mtime, ctime of what the guest's page cache holds


class NodeTable:
    """All nodes. Not thread-safe."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Another guest: nothing is known but the root."""
        self._nodes = {ROOT: Node(ROOT, None, kept=True)}
        self._by_key: dict[Key, Node] = {}
        self._ancestors: dict[Names, Node] = {}
        self._next = random.SystemRandom().randrange(1 << 32, 1 << 62)

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def get(self, identity: int) -> Node:
        """Raises Refusal(ESTALE), which makes the kernel walk the path anew."""
        node = self._nodes.get(identity)
        if node is None:
            raise Refusal(ESTALE)
        return node

    def find(self, key: Key) -> Node | None:
        return self._by_key.get(key)

    def add(self, key: Key, name: Name, *, is_folder: bool) -> tuple[Node, bool]:
        """The node of what was found under that name, counted once more; and whether that name was unknown."""
        node = self._by_key.get(key) or self._make(key)
        fresh = name not in node.names
        if is_folder:
            node.names.clear()  # a folder has one name
        node.names.pop(name, None)
        node.names[name] = None
        node.removed = False
        node.lookups += 1
        return node, fresh

    def add_ancestor(self, path: Names, name: Name) -> tuple[Node, bool]:
        """The node of a folder that leads to a share."""
        node = self._ancestors.get(path)
        fresh = node is None
        if node is None:
            node = self._ancestors[path] = self._make(None)
            node.names[name] = None
        node.lookups += 1
        return node, fresh

    def restore(self, identity: int, key: Key | None, name: Name) -> None:
        """As the journal has it."""
        node = self._nodes.get(identity) or Node(identity, key, kept=True)
        self._nodes[identity] = node
        node.names.pop(name, None)
        node.names[name] = None
        if key is not None:
            self._by_key[key] = node

    def restore_gone(self, identity: int) -> None:
        """As the journal has it: forgotten again."""
        node = self._nodes.pop(identity, None)
        if node is not None and node.key is not None and self._by_key.get(node.key) is node:
            del self._by_key[node.key]

    def restore_ancestors(self) -> None:
        """After the last `restore`: they are found by path."""
        for node in self._nodes.values():
            if node.key is None and node.id != ROOT:
                with contextlib.suppress(Refusal):
                    self._ancestors[self.path(node)] = node

    def _make(self, key: Key | None) -> Node:
        if len(self._nodes) >= NODES_LIMIT:
            raise Refusal(ENOMEM)
        node = Node(self._next, key)
        self._next += 1
        self._nodes[node.id] = node
        if key is not None:
            self._by_key[key] = node
        return node

    def drop_name(self, node: Node, name: Name, *, removed: bool = False) -> None:
        """It turned out to be wrong, or (`removed`) the guest took it away."""
        node.names.pop(name, None)
        node.removed = removed and not node.names

    def rename(self, node: Node, old: Name, new: Name) -> None:
        """The guest renamed it."""
        node.names.pop(old, None)
        node.names.pop(new, None)
        node.names[new] = None

    def forget(self, identity: int, count: int) -> Node | None:
        """The kernel gives look-ups back. The node where it went with that."""
        node = self._nodes.get(identity)
        if node is None or node.kept:
            return None
        node.lookups -= count
        if node.lookups > 0:
            return None
        self._remove(node)
        return node

    def _remove(self, node: Node) -> None:
        if node.key is None:
            self._ancestors = {path: one for path, one in self._ancestors.items() if one is not node}
        elif self._by_key.get(node.key) is node:
            del self._by_key[node.key]
        del self._nodes[node.id]

    def path(self, node: Node) -> Names:
        """By the latest names. Raises Refusal(ESTALE) where they lead nowhere."""
        return () if node.id == ROOT else self.path_of(self.latest_name(node))

    def latest_name(self, node: Node) -> Name:
        for name in reversed(node.names):
            return name
        raise Refusal(ESTALE)

    def path_of(self, name: Name) -> Names:
        """From the root to that name. Ends, even where moved folders made a circle of names."""
        components: list[bytes] = []
        for _ in range(_DEPTH_LIMIT):
            parent, component = name
            components.append(component)
            if parent == ROOT:
                return tuple(reversed(components))
            name = self.latest_name(self.get(parent))
        raise Refusal(ESTALE)
