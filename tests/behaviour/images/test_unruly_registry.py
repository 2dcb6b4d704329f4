"""Registries that break off, lie, redirect and want tokens: a small server that does each on demand."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from guest_agent.wire.errors import HostvmError, PeerMisbehaved, Unauthorized
from guest_agent.wire.models import Credentials
from tests.behaviour.harness.waiting import wait_for

from .layouts import OCI, File, compress, digest_of, make_tar
from .stores import QUICK, Stores

LAYER = make_tar(File("data", os.urandom(400_000)))
BLOB = compress(LAYER, "gzip")[0]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers are unpacked in a chroot: needs root")


class _Server(ThreadingHTTPServer):
    """`behave` holds what it does wrong."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behave: set[str] = set()
        self.requests: list[tuple[str, str, str]] = []
        self.layers = {digest_of(BLOB): digest_of(LAYER)}
        self.blobs = {digest_of(BLOB): BLOB}
        self.on_missing: Callable[[], object] = lambda: None
        self.address = f"127.0.0.1:{self.server_address[1]}"

    def add_layer(self, tar: bytes) -> str:
        """One more layer of the image; its blob's digest."""
        blob = compress(tar, "gzip")[0]
        self.blobs[digest_of(blob)] = blob
        self.layers[digest_of(blob)] = digest_of(tar)
        return digest_of(blob)

    def manifest(self) -> bytes:
        rootfs = {"type": "layers", "diff_ids": list(self.layers.values())}
        config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": rootfs}).encode()
        self.blobs[digest_of(config)] = config
        sizes = {digest: len(self.blobs.get(digest, b"")) or 1 for digest in self.layers}
        document = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": {"mediaType": "c", "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": "l", "digest": digest, "size": size} for digest, size in sizes.items()],
        }
        return json.dumps(document).encode()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["Range"] or "", self.headers["Authorization"] or ""))
        behave = self.server.behave
        if self.path.startswith("/token"):
            allowed = "basic" in (self.headers["Authorization"] or "").lower()
            self._answer(200 if allowed else 401, b'{"token": "t0k"}')
        elif "token" in behave and self.headers["Authorization"] != "Bearer t0k" and "/cdn" not in self.path:
            realm = f'Bearer realm="http://{self.server.address}/token",service="s"'
            self._answer(401, b"{}", {"WWW-Authenticate": realm})
        elif "rate" in behave:
            wait = "7200" if "hours" in behave else "0"
            behave.discard("rate")
            body = b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}'
            self._answer(429, body, {"Retry-After": wait})
        elif "/manifests/" in self.path:
            digest = "sha256:" + "0" * 64 if "lie" in behave else ""
            self._answer(200, self.server.manifest(), {"Docker-Content-Digest": digest})
        elif "redirect" in behave and "/cdn" not in self.path:
            port = self.server.server_address[1]
            self._answer(307, b"", {"Location": f"http://localhost:{port}/cdn{self.path}"})
        else:
            self._find_blob(self.path.rpartition("/")[2])

    def _find_blob(self, digest: str) -> None:
        if digest not in self.server.blobs:
            self.server.on_missing()
            self._answer(404, b"{}")
        else:
            self._send_blob(self.server.blobs[digest])

    def _send_blob(self, data: bytes) -> None:
        start = 0
        if self.headers["Range"] and "no-range" not in self.server.behave:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        body = data[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        cut = len(body) > 1000 and ("always-cut" in self.server.behave or "cut" in self.server.behave)
        if cut:
            self.server.behave.discard("cut")
        self.wfile.write(body[:100_000] if cut else body)
        self.close_connection = True

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(tmp_path / "data")


@pytest.mark.parametrize("extra", [set(), {"no-range"}, {"redirect"}])
def test_a_broken_transfer_goes_on(server: _Server, stores: Stores, extra: set[str]) -> None:
    server.behave = {"cut", *extra}
    asyncio.run(stores.pull(f"{server.address}/a/b"))
    assert stores.images.find(f"{server.address}/a/b").size == 400_000
    assert "bytes=100000-" in [wanted for _, wanted, _ in server.requests]


def test_a_transfer_that_never_ends_well(server: _Server, stores: Stores) -> None:
    server.behave = {"always-cut", "no-range"}
    with pytest.raises(PeerMisbehaved, match=r"failed to download sha256:\w+: unexpected EOF after 100000 of \d+ by"):
        asyncio.run(stores.pull(f"{server.address}/a/b"))
    assert stores.leftovers() == []


def test_a_lie_about_the_manifest(server: _Server, stores: Stores) -> None:
    server.behave = {"lie"}
    with pytest.raises(PeerMisbehaved, match="manifest verification failed for digest sha256:0000"):
        asyncio.run(stores.pull(f"{server.address}/a/b"))


def test_a_wrong_diff_id(server: _Server, stores: Stores) -> None:
    server.layers[digest_of(BLOB)] = "sha256:" + "1" * 64
    with pytest.raises(PeerMisbehaved, match="layers from manifest don't match image configuration"):
        asyncio.run(stores.pull(f"{server.address}/a/b"))
    assert (stores.images.all(), stores.leftovers()) == ((), [])


def test_tokens_and_redirects(server: _Server, stores: Stores) -> None:
    server.behave = {"token", "redirect"}
    with pytest.raises(Unauthorized):
        asyncio.run(stores.pull(f"{server.address}/a/b"))
    asyncio.run(stores.pull(f"{server.address}/a/b", credentials=Credentials("ann", "secret")))
    sent = {authorization for path, _, authorization in server.requests if "/cdn" in path}
    assert sent == {""}, "the token must not go to another host"
    assert any("scope=repository%3Aa%2Fb%3Apull" in path for path, _, _ in server.requests)


def test_cancelled(server: _Server, stores: Stores) -> None:
    """A client that goes away in the middle leaves nothing."""
    from guest_agent.images.pull import pull

    from .stores import QUICK

    async def begin() -> None:
        stream = pull(stores.images, f"{server.address}/a/b", "linux/amd64", QUICK)
        async for _ in stream:
            break
        await stream.aclose()

    asyncio.run(begin())
    assert (stores.images.all(), stores.leftovers()) == ((), [])


def test_not_json(server: _Server, stores: Stores) -> None:
    server.manifest = lambda: b"<html>"  # type: ignore[method-assign]
    with pytest.raises(HostvmError, match="the manifest isn't valid JSON"):
        asyncio.run(stores.pull(f"{server.address}/a/b"))


async def _both(stores: Stores, address: str) -> None:
    await asyncio.gather(*(stores.pull(f"{address}/app:{number}") for number in "12"))


def test_two_pulls_fetch_a_layer_once(server: _Server, stores: Stores) -> None:
    """Both wait for the one transfer, and both have the layer afterwards."""
    asyncio.run(_both(stores, server.address))
    fetched = [path for path, _range, _auth in server.requests if path.endswith(digest_of(BLOB))]
    assert len(fetched) == 1
    assert stores.images.find(f"{server.address}/app:1").tags == tuple(f"{server.address}/app:{n}" for n in "12")
    assert stores.leftovers() == []


def test_a_rate_limit_is_waited_for(server: _Server, stores: Stores) -> None:
    server.behave.add("rate")
    asyncio.run(stores.pull(f"{server.address}/app:1"))
    assert "rate" not in server.behave


def test_a_rate_limit_of_hours_is_an_error(server: _Server, stores: Stores) -> None:
    server.behave |= {"rate", "hours"}
    with pytest.raises(HostvmError, match="toomanyrequests: slow down"):
        asyncio.run(stores.pull(f"{server.address}/app:1"))


def test_a_finished_layer_of_a_failed_pull_is_kept(server: _Server, stores: Stores) -> None:
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
