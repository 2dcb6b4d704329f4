"""Pulls from registries that break off, lie, redirect and want tokens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from guest_agent.wire.errors import HostvmError, PeerMisbehaved, Unauthorized
from guest_agent.wire.models import Credentials
from tests.behaviour.harness.waiting import wait_for

from .layouts import File, digest_of, make_tar
from .stores import QUICK, Stores
from .unruly_registry import BLOB, UnrulyRegistry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers are unpacked in a chroot: needs root")


@pytest.fixture
def server() -> Iterator[UnrulyRegistry]:
    with UnrulyRegistry() as running:
        yield running


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(tmp_path / "data")


@pytest.mark.parametrize("extra", [set(), {"no-range"}, {"redirect"}])
def test_a_broken_transfer_goes_on(server: UnrulyRegistry, stores: Stores, extra: set[str]) -> None:
    server.behave = {"cut", *extra}
    asyncio.run(stores.pull(f"{server.address}/a/b"))
    assert stores.images.find(f"{server.address}/a/b").size == 400_000
    assert "bytes=100000-" in [wanted for _, wanted, _ in server.requests]


def test_a_transfer_that_never_ends_well(server: UnrulyRegistry, stores: Stores) -> None:
    server.behave = {"always-cut", "no-range"}
    with pytest.raises(PeerMisbehaved, match=r"failed to download sha256:\w+: unexpected EOF after 100000 of \d+ by"):
        asyncio.run(stores.pull(f"{server.address}/a/b"))
    assert stores.leftovers() == []


def test_a_lie_about_the_manifest(server: UnrulyRegistry, stores: Stores) -> None:
    server.behave = {"lie"}
    with pytest.raises(PeerMisbehaved, match="manifest verification failed for digest sha256:0000"):
        asyncio.run(stores.pull(f"{server.address}/a/b"))


def test_a_wrong_diff_id(server: UnrulyRegistry, stores: Stores) -> None:
    server.layers[digest_of(BLOB)] = "sha256:" + "1" * 64
    with pytest.raises(PeerMisbehaved, match="layers from manifest don't match image configuration"):
        asyncio.run(stores.pull(f"{server.address}/a/b"))
    assert (stores.images.all(), stores.leftovers()) == ((), [])


def test_tokens_and_redirects(server: UnrulyRegistry, stores: Stores) -> None:
    server.behave = {"token", "redirect"}
    with pytest.raises(Unauthorized):
        asyncio.run(stores.pull(f"{server.address}/a/b"))
    asyncio.run(stores.pull(f"{server.address}/a/b", credentials=Credentials("ann", "secret")))
    sent = {authorization for path, _, authorization in server.requests if "/cdn" in path}
    assert sent == {""}, "the token must not go to another host"
    assert any("scope=repository%3Aa%2Fb%3Apull" in path for path, _, _ in server.requests)


def test_cancelled(server: UnrulyRegistry, stores: Stores) -> None:
    """A client that goes away in the middle of a layer leaves nothing, and nobody goes on for it."""
    from guest_agent.images.pull import pull

    from .stores import QUICK

    server.behave = {"stall"}

    async def begin() -> None:
        stream = pull(stores.images, f"{server.address}/a/b", "linux/amd64", QUICK)
        async for _ in stream:
            await asyncio.to_thread(server.stalled.wait)
            break
        await stream.aclose()

    asyncio.run(begin())
    assert (stores.images.all(), stores.leftovers()) == ((), [])


def test_not_json(server: UnrulyRegistry, stores: Stores) -> None:
    server.manifest = lambda: b"<html>"  # type: ignore[method-assign]
    with pytest.raises(HostvmError, match="the manifest isn't valid JSON"):
        asyncio.run(stores.pull(f"{server.address}/a/b"))


async def _both(stores: Stores, address: str) -> None:
    await asyncio.gather(*(stores.pull(f"{address}/app:{number}") for number in "12"))


def test_two_pulls_fetch_a_layer_once(server: UnrulyRegistry, stores: Stores) -> None:
    """Both wait for the one transfer, and both have the layer afterwards."""
    asyncio.run(_both(stores, server.address))
    fetched = [path for path, _range, _auth in server.requests if path.endswith(digest_of(BLOB))]
    assert len(fetched) == 1
    assert stores.images.find(f"{server.address}/app:1").tags == tuple(f"{server.address}/app:{n}" for n in "12")
    assert stores.leftovers() == []


def test_a_rate_limit_is_waited_for(server: UnrulyRegistry, stores: Stores) -> None:
    server.behave.add("rate")
    asyncio.run(stores.pull(f"{server.address}/app:1"))
    assert "rate" not in server.behave


def test_a_rate_limit_of_hours_is_an_error(server: UnrulyRegistry, stores: Stores) -> None:
    server.behave |= {"rate", "hours"}
    with pytest.raises(HostvmError, match="toomanyrequests: slow down"):
        asyncio.run(stores.pull(f"{server.address}/app:1"))


def test_a_finished_layer_of_a_failed_pull_is_kept(server: UnrulyRegistry, stores: Stores) -> None:
    """The second layer isn't there at first; the next attempt fetches it alone."""
    second = server.add_layer(make_tar(File("more", b"x" * 3000)))
    blob = server.blobs.pop(second)
    patient = replace(QUICK, keep_finished=60)
    server.on_missing = lambda: wait_for(lambda: bool(os.listdir(stores.paths.layers)[1:]), "the first layer")

    async def attempts() -> None:
        with pytest.raises(HostvmError):
            await stores.pull(f"{server.address}/app:1", settings=patient)
        server.blobs[second] = blob
        await stores.pull(f"{server.address}/app:1", settings=patient)

    asyncio.run(attempts())
    fetched = [path.rpartition("/")[2] for path, _range, _auth in server.requests if "/blobs/" in path]
    assert fetched.count(digest_of(BLOB)) == 1
    assert stores.leftovers() == []
