"""Folders of RUN --mount=type=cache: nobody waits for ever, and nothing in use is pruned. Secrets that were left."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from guest_agent.build.instructions import MountKind, RunMount
from guest_agent.engine.build_caches import CacheFolders
from guest_agent.engine.build_mounts import drop_left_secrets, plan_caches
from guest_agent.store.paths import EnginePaths


@pytest.fixture
def paths(tmp_path: Path) -> EnginePaths:
    paths = EnginePaths(str(tmp_path / "data"), str(tmp_path / "run"))
    os.makedirs(paths.temporary)
    return paths


def cache(identity: str, sharing: str) -> RunMount:
    return RunMount(MountKind.CACHE, f"/{sharing}", id=identity, sharing=sharing)


def test_each_cache_of_a_run_is_taken_once_and_most_strictly() -> None:
    wanted = plan_caches((cache("x", "shared"), cache("x", "locked"), cache("y", "private"), cache("x", "shared")))
    assert sorted(wanted.values()) == ["locked", "private"]


def test_two_runs_that_lock_the_same_caches_both_end(paths: EnginePaths) -> None:
    async def scenario() -> None:
        caches = CacheFolders(paths)

        async def run(*names: str) -> None:
            for _ in range(5):
                async with AsyncExitStack() as undo:
                    assert set(await caches.take_all(dict.fromkeys(names, "locked"), undo)) == set(names)
                    await asyncio.sleep(0)

        async with asyncio.timeout(30):
            await asyncio.gather(run("x", "y"), run("y", "x"))

    asyncio.run(scenario())


def test_a_private_cache_is_nobody_elses(paths: EnginePaths) -> None:
    async def scenario() -> None:
        caches = CacheFolders(paths)
        async with AsyncExitStack() as first, AsyncExitStack() as second:
            one = await caches.take_all({"x": "private"}, first)
            assert one != await caches.take_all({"x": "private"}, second)

    asyncio.run(scenario())


def test_prune_leaves_what_is_used(paths: EnginePaths) -> None:
    async def scenario() -> None:
        caches = CacheFolders(paths)
        for name in ("used", "unused"):
            os.makedirs(paths.build_cache(name))
            Path(paths.build_cache(name), "file").write_bytes(b"x" * 10000)
        async with AsyncExitStack() as undo:
            await caches.take_all({"used": "shared"}, undo)
            assert await caches.prune() >= 10000
            assert os.listdir(paths.build_caches) == ["used"] and not os.listdir(paths.temporary)

    asyncio.run(scenario())


def test_secrets_of_a_killed_engine_are_dropped(paths: EnginePaths) -> None:
    drop_left_secrets(paths)
    os.makedirs(f"{paths.build_secrets}/x")
    Path(f"{paths.build_secrets}/x/secret").write_text("s")
    drop_left_secrets(paths)
    assert not os.path.exists(paths.build_secrets)
