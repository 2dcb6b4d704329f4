"""The build cache's pruning, as far as it isn't planning: what follows from a record that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from guest_agent.build.cache import BuildCache
from guest_agent.build.snapshots import StepResult
from guest_agent.engine.background import BackgroundTasks
from guest_agent.engine.build_caches import CacheFolders
from guest_agent.engine.build_usage import CacheUsage
from guest_agent.engine.parts import Parts
from guest_agent.store.records import Records
from guest_agent.wire.cache_records import CacheRecord, PruneRequest, RecordType
from guest_agent.wire.models import DiffId


class Layers:
    """One, which is the cache's alone."""

    def __init__(self) -> None:
        self.there = True

    def has(self, diff_id: DiffId) -> bool:
        return self.there

    hold = has

    def let_go(self, diff_ids: Collection[DiffId]) -> None:
        """Nobody counts."""

    def size(self, diff_id: DiffId) -> int:
        return 10 if self.there else 0

    def all(self) -> tuple[()]:
        """Images."""
        return ()

    async def drop_unused_layers(self) -> None:
        self.there = False


class SlowFolders:
    """`idle` and `taken`; by the time of their removal the second has come into use. It takes until `go_on`."""

    def __init__(self) -> None:
        self.entered, self.go_on = asyncio.Event(), asyncio.Event()

    async def listed(self) -> tuple[CacheRecord, ...]:
        return tuple(CacheRecord(name, RecordType.CACHE_MOUNT, 5, "", 0) for name in ("idle", "taken"))

    async def prune(self, names: Collection[str]) -> tuple[frozenset[str], int]:
        assert {"idle", "taken"} <= set(names)
        self.entered.set()
        await self.go_on.wait()
        return frozenset({"idle"}), 5


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    records = Records(str(tmp_path / "db"), str(tmp_path / "aside"))
    yield records
    records.close()


class Scene:
    """An engine's cache with one step, and `told`, its events. To be made within a loop."""

    def __init__(self, records: Records) -> None:
        self.layers, self.tasks, self.folders = Layers(), BackgroundTasks(), SlowFolders()
        self.told = list[tuple[object, ...]]()
        events = SimpleNamespace(publish=lambda *words: self.told.append(words))
        self.cache = BuildCache(records, self.layers)
        self.cache.remember({"step": StepResult("2024-01-01T00:00:00Z", "layer")}, {})
        named = {"layers": self.layers, "images": self.layers, "events": events, "tasks": self.tasks}
        parts = cast(Parts, SimpleNamespace(**named, build_cache=self.cache))
        self.usage = CacheUsage(parts, cast(CacheFolders, self.folders))


def test_what_came_into_use_meanwhile_is_not_told_of_as_gone(records: Records) -> None:
    async def scenario() -> None:
        scene = Scene(records)
        scene.folders.go_on.set()
        gone, freed = await scene.usage.prune(PruneRequest())
        assert (sorted(record.id for record in gone), freed) == (["idle", "step"], 15)

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_prune_that_is_cancelled_leaves_nothing_that_belongs_to_nobody(records: Records) -> None:
    """ctrl-C of `buildx prune` ends its call while files are removed: the records are gone by then."""

    async def scenario() -> None:
        scene = Scene(records)
        folders, tasks, usage = scene.folders, scene.tasks, scene.usage
        pruning = asyncio.create_task(usage.prune(PruneRequest()))
        await folders.entered.wait()
        pruning.cancel()
        await asyncio.wait([pruning])
        folders.go_on.set()
        await tasks.join(30)
        assert not len(scene.cache) and not scene.layers.there
        assert scene.told == [("builder", "prune", "", {"reclaimed": "15"})]

    asyncio.run(asyncio.wait_for(scenario(), 30))
