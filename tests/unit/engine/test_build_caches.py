"""Folders of RUN --mount=type=cache: nobody waits for ever, and nothing in use is pruned. Secrets that were left."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from guest_agent.build.instructions import MountKind, RunMount
from guest_agent.engine.build_cache_mounts import cache_name, strictest
from guest_agent.engine.build_caches import CacheFolders
from guest_agent.engine.build_mounts import drop_left_secrets
from guest_agent.store.paths import EnginePaths
from guest_agent.store.records import Records


@pytest.fixture
def paths(tmp_path: Path) -> EnginePaths:
    paths = EnginePaths(str(tmp_path / "data"), str(tmp_path / "run"))
    os.makedirs(paths.temporary)
    return paths


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    records = Records(str(tmp_path / "db"), str(tmp_path / "aside"))
    yield records
    records.close()


def cache(identity: str, sharing: str) -> RunMount:
    return RunMount(MountKind.CACHE, f"/{sharing}", id=identity, sharing=sharing)


def test_each_cache_of_a_run_is_taken_once_and_most_strictly() -> None:
    mounts = (cache("x", "shared"), cache("x", "locked"), cache("y", "private"))
    wanted = strictest({mount: cache_name(mount, "") for mount in mounts})
    assert sorted(wanted.values()) == ["locked", "private"]


def test_who_wants_another_beginning_has_another_cache() -> None:
    """BuildKit knows a cache by its id and by what is below it: an owner, a mode or a `from` makes it another one."""
    plain = cache("x", "shared")
    others = (replace(plain, uid=5), replace(plain, gid=5), replace(plain, mode=0o700))
    assert len({cache_name(one, "") for one in (plain, *others)} | {cache_name(plain, "content")}) == 5
    assert cache_name(replace(plain, mode=0o755, target="/other"), "") == cache_name(plain, "")


def test_two_runs_that_lock_the_same_caches_both_end(paths: EnginePaths, records: Records) -> None:
    async def scenario() -> None:
        caches = CacheFolders(paths, records)

        async def run(*names: str) -> None:
            for _ in range(5):
                async with AsyncExitStack() as undo:
                    assert set(await caches.take_all(dict.fromkeys(names, "locked"), undo)) == set(names)
                    await asyncio.sleep(0)

        async with asyncio.timeout(30):
            await asyncio.gather(run("x", "y"), run("y", "x"))

    asyncio.run(scenario())


def test_a_private_cache_is_nobody_elses(paths: EnginePaths, records: Records) -> None:
    async def scenario() -> None:
        caches = CacheFolders(paths, records)
        async with AsyncExitStack() as first, AsyncExitStack() as second:
            one = await caches.take_all({"x": "private"}, first)
            assert one != await caches.take_all({"x": "private"}, second)

    asyncio.run(scenario())


def test_prune_leaves_what_is_used(paths: EnginePaths, records: Records) -> None:
    async def scenario() -> None:
        caches = CacheFolders(paths, records)
        for name in ("used", "unused"):
            os.makedirs(paths.build_cache(name))
            Path(paths.build_cache(name), "file").write_bytes(b"x" * 10000)
        async with AsyncExitStack() as undo:
            await caches.take_all({"used": "shared"}, undo)
            assert await caches.prune(["used", "nosuch"]) == (frozenset(), 0)
            assert await caches.prune(["used", "unused"]) == (frozenset({"unused"}), 10000)
            assert os.listdir(paths.build_caches) == ["used"] and not os.listdir(paths.temporary)

    asyncio.run(scenario())


def test_what_is_listed_of_a_folder(paths: EnginePaths, records: Records) -> None:
    """An older engine's has no record: it says when it was changed last."""

    async def scenario() -> None:
        caches = CacheFolders(paths, records)
        assert await caches.listed() == ()
        for name in ("noted", "old"):
            os.makedirs(paths.build_cache(name))
            Path(paths.build_cache(name), "file").write_bytes(b"12345")
        os.utime(paths.build_cache("old"), (7, 7))
        for _ in range(2):
            caches.note_use("noted", "cached mount /c")
        async with AsyncExitStack() as undo:
            await caches.take_all({"noted": "shared"}, undo)
            noted, old = await caches.listed()
        assert (noted.id, noted.uses, noted.description, noted.in_use) == ("noted", 2, "cached mount /c", True)
        assert noted.used_ns > 10**18 and noted.created > "2024"
        assert (old.size, old.used_ns, old.created, old.uses) == (5, 7 * 10**9, "1970-01-01T00:00:07Z", 0)
        await caches.prune(["noted"])
        assert not list(records.items("build-folder"))

    asyncio.run(scenario())


def test_secrets_of_a_killed_engine_are_dropped(paths: EnginePaths) -> None:
    drop_left_secrets(paths)
    os.makedirs(f"{paths.build_secrets}/x")
    Path(f"{paths.build_secrets}/x/secret").write_text("s")
    drop_left_secrets(paths)
    assert not os.path.exists(paths.build_secrets)
