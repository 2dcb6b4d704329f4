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
from guest_agent.wire.cache_records import CacheRecord, PruneRequest
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
    """Their removal takes until `go_on`."""

    def __init__(self) -> None:
        self.entered, self.go_on = asyncio.Event(), asyncio.Event()

    async def listed(self) -> tuple[CacheRecord, ...]:
        return ()

    async def prune(self, names: Collection[str]) -> int:
        self.entered.set()
        await self.go_on.wait()
        return 5


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    records = Records(str(tmp_path / "db"), str(tmp_path / "aside"))
    yield records
    records.close()


def test_a_prune_that_is_cancelled_leaves_nothing_that_belongs_to_nobody(records: Records) -> None:
    """ctrl-C of `buildx prune` ends its call while files are removed: the records are gone by then."""
    layers, tasks, told = Layers(), BackgroundTasks(), list[tuple[object, ...]]()
    events = SimpleNamespace(publish=lambda *words: told.append(words))
    cache = BuildCache(records, layers)
    cache.remember({"step": StepResult("2024-01-01T00:00:00Z", "layer")}, {})
    named = {"layers": layers, "images": layers, "events": events, "tasks": tasks, "build_cache": cache}

    async def scenario() -> None:
        folders = SlowFolders()
        usage = CacheUsage(cast(Parts, SimpleNamespace(**named)), cast(CacheFolders, folders))
        pruning = asyncio.create_task(usage.prune(PruneRequest()))
        await folders.entered.wait()
        pruning.cancel()
        await asyncio.wait([pruning])
        folders.go_on.set()
        await tasks.join(30)

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert not len(cache) and not layers.there
    assert told == [("builder", "prune", "", {"reclaimed": "15"})]
