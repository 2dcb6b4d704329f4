"""Registries that break off, lie, redirect and want tokens: a small server that does each on demand."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from guest_agent.wire.errors import HostvmError, PeerMisbehaved, Unauthorized
from guest_agent.wire.models import Credentials

from .layouts import OCI, File, compress, digest_of, make_tar
from .stores import Stores

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
        config = {
            "os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [digest_of(LAYER)]}
        }  # fmt: skip
        self.blobs = {digest_of(BLOB): BLOB, digest_of(json.dumps(config).encode()): json.dumps(config).encode()}
        self.address = f"127.0.0.1:{self.server_address[1]}"

    def manifest(self) -> bytes:
        layer, config = self.blobs
        document = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": {"mediaType": "c", "digest": config, "size": len(self.blobs[config])},
            "layers": [{"mediaType": "l", "digest": layer, "size": len(BLOB)}],
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
        elif "/manifests/" in self.path:
            digest = "sha256:" + "0" * 64 if "lie" in behave else ""
            self._answer(200, self.server.manifest(), {"Docker-Content-Digest": digest})
        elif "redirect" in behave and "/cdn" not in self.path:
            port = self.server.server_address[1]
            self._answer(307, b"", {"Location": f"http://localhost:{port}/cdn{self.path}"})
        else:
            self._send_blob(self.server.blobs[self.path.rpartition("/")[2]])

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
    layer, config = server.blobs
    false = server.blobs.pop(config).replace(digest_of(LAYER).encode(), b"sha256:" + b"1" * 64)
    server.blobs = {layer: BLOB, digest_of(false): false}
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
