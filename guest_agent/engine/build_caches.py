"""The folders of RUN --mount=type=cache, and who uses them at the moment."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from contextlib import AsyncExitStack

from guest_agent.store.files import move_to_grave, remove_tree, tree_size
from guest_agent.store.paths import EnginePaths


class CacheFolders:
    """One for the engine's life; names are hashes of the mounts' ids."""

    def __init__(self, paths: EnginePaths) -> None:
        self._paths = paths
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._users: defaultdict[str, int] = defaultdict(int)

    async def take(self, name: str, sharing: str, undo: AsyncExitStack) -> str:
        """The folder's name to use until `undo` runs: `locked` waits, `private` gets one that nobody else has."""
        if sharing == "locked":
            await undo.enter_async_context(self._locks[name])
        elif sharing == "private":
            name = next(one for one in self._candidates(name) if not self._users[one])
        self._users[name] += 1
        undo.callback(self._give_back, name)
        return name

    def prune(self) -> int:
        """Remove what nobody uses: bytes that are free again. Blocks."""
        total = 0
        for name in self._names():
            if not self._users[name]:
                grave = move_to_grave(self._paths.build_cache(name), self._paths.temporary)
                total += tree_size(grave)
                remove_tree(grave)
        return total

    def size(self) -> int:
        """Bytes in all of them. Blocks."""
        return sum(tree_size(self._paths.build_cache(name)) for name in self._names())

    def _give_back(self, name: str) -> None:
        self._users[name] -= 1

    def _candidates(self, name: str) -> list[str]:
        return [name, *(f"{name}-{number}" for number in range(1, sum(self._users.values()) + 2))]

    def _names(self) -> list[str]:
        try:
            return sorted(os.listdir(self._paths.build_caches))
        except FileNotFoundError:
            return []
