"""The folders of RUN --mount=type=cache, and who uses them at the moment."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from guest_agent.store.files import move_to_grave, remove_tree, tree_size
from guest_agent.store.paths import EnginePaths


class CacheFolders:
    """One for the engine's life; names are hashes of the mounts' ids."""

    def __init__(self, paths: EnginePaths) -> None:
        self._paths = paths
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._users: defaultdict[str, int] = defaultdict(int)

    async def take_all(self, wanted: Mapping[str, str], undo: AsyncExitStack) -> dict[str, str]:
        """All folders of one RUN, until `undo` runs: name -> sharing becomes name -> the folder's own name.

        `locked` waits, `private` gets one that nobody else has. All RUNs take theirs in the same order, so that no two
        of them wait for each other.
        """
        return {name: await self._take(name, sharing, undo) for name, sharing in sorted(wanted.items())}

    async def prune(self) -> int:
        """Remove what nobody uses: bytes that are free again."""
        unused = [name for name in self._names() if not self._users.get(name)]
        graves = [move_to_grave(self._paths.build_cache(name), self._paths.temporary) for name in unused]
        return await asyncio.to_thread(_remove_all, graves)

    def size(self) -> int:
        """Bytes in all of them. Blocks."""
        return sum(tree_size(self._paths.build_cache(name)) for name in self._names())

    async def _take(self, name: str, sharing: str, undo: AsyncExitStack) -> str:
        if sharing == "locked":
            await undo.enter_async_context(self._locks[name])
        elif sharing == "private":
            name = next(one for one in self._candidates(name) if not self._users[one])
        self._users[name] += 1
        undo.callback(self._give_back, name)
        return name

    def _give_back(self, name: str) -> None:
        self._users[name] -= 1

    def _candidates(self, name: str) -> list[str]:
        return [name, *(f"{name}-{number}" for number in range(1, sum(self._users.values()) + 2))]

    def _names(self) -> list[str]:
        try:
            return sorted(os.listdir(self._paths.build_caches))
        except FileNotFoundError:
            return []


def _remove_all(graves: Sequence[str]) -> int:
    total = sum(tree_size(grave) for grave in graves)
    for grave in graves:
        remove_tree(grave)
    return total
