"""The folders of RUN --mount=type=cache, and who uses them at the moment.

Records: kind "build-folder", key the folder's name: {"created", "used", "uses", "description"}. A folder without one
was made by an older engine.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress

from guest_agent.store.files import move_to_grave, remove_tree, tree_size
from guest_agent.store.paths import EnginePaths
from guest_agent.store.records import Records
from guest_agent.wire.cache_records import CacheRecord, RecordType
from guest_agent.wire.times import rfc3339

_KIND = "build-folder"


class CacheFolders:
    """One for the engine's life; names are hashes of the mounts' ids."""

    def __init__(self, paths: EnginePaths, records: Records) -> None:
        self._paths = paths
        self._records = records
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._users: defaultdict[str, int] = defaultdict(int)

    async def take_all(self, wanted: Mapping[str, str], undo: AsyncExitStack) -> dict[str, str]:
        """All folders of one RUN, until `undo` runs: name -> sharing becomes name -> the folder's own name.

        `locked` waits, `private` gets one that nobody else has. All RUNs take theirs in the same order, so that no two
        of them wait for each other.
        """
        return {name: await self._take(name, sharing, undo) for name, sharing in sorted(wanted.items())}

    def note_use(self, name: str, description: str) -> None:
        """A step begins to use this folder, which is there."""
        before, now = self._read(name), time.time_ns()
        created, uses = before.get("created", now), int(before.get("uses", 0)) + 1
        after = {"created": created, "used": now, "uses": uses, "description": description}
        with self._records.transaction(durable=False):
            self._records.put(_KIND, name, json.dumps(after))

    async def listed(self) -> tuple[CacheRecord, ...]:
        """One record each; walks through all of them for their sizes."""
        names = self._names()
        sizes = await asyncio.to_thread(self._sizes, names)
        return tuple(self._describe(name, size) for name, size in zip(names, sizes, strict=True))

    async def prune(self, names: Collection[str]) -> tuple[frozenset[str], int]:
        """Remove those of them that nobody uses: which these are, and bytes that are free again."""
        unused = [name for name in self._names() if name in names and not self._users.get(name)]
        if not unused:
            return frozenset(), 0
        with self._records.transaction():
            for name in unused:
                self._records.delete(_KIND, name)
        graves = [move_to_grave(self._paths.build_cache(name), self._paths.temporary) for name in unused]
        return frozenset(unused), await asyncio.to_thread(_remove_all, graves)

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

    def _sizes(self, names: Sequence[str]) -> list[int]:
        return [tree_size(self._paths.build_cache(name)) for name in names]

    def _describe(self, name: str, size: int) -> CacheRecord:
        plain = self._read(name)
        return CacheRecord(
            id=name,
            kind=RecordType.CACHE_MOUNT,
            size=size,
            created=rfc3339(int(plain.get("created", 0))),
            used_ns=int(plain.get("used", 0)),
            uses=int(plain.get("uses", 0)),
            description=str(plain.get("description", "")),
            in_use=bool(self._users.get(name)),
        )

    def _read(self, name: str) -> dict[str, int | str]:
        """What is recorded of it; of a folder that an older engine made, when it was changed."""
        found = self._records.get(_KIND, name)
        if found is not None:
            with suppress(ValueError, TypeError):
                return dict(json.loads(found))
        try:
            changed = os.stat(self._paths.build_cache(name)).st_mtime_ns
        except FileNotFoundError:
            return {}
        return {"created": changed, "used": changed}


def _remove_all(graves: Sequence[str]) -> int:
    total = sum(tree_size(grave) for grave in graves)
    for grave in graves:
        remove_tree(grave)
    return total
