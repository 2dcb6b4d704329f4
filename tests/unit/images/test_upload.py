"""Who sees credentials and secrets while blobs go to a registry that names other hosts."""

from __future__ import annotations

import hashlib
import http.server
import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from guest_agent.images.reference import parse_reference
from guest_agent.images.registry import Repository
from guest_agent.images.transport import RegistrySettings, Transport
from guest_agent.images.upload import Uploads
from guest_agent.wire.errors import PeerMisbehaved
from guest_agent.wire.models import Credentials, Digest

DIGEST = Digest(f"sha256:{'0' * 64}")


@dataclass
class Peer:
    """A server: its address, where it sends others to, and the requests that it has seen."""

    address: str
    location: str = ""
    status: int = 202
    demands: str = ""
    seen: list[tuple[str, str | None, bytes]] = field(default_factory=list)


class _Server(http.server.ThreadingHTTPServer):
    peer: Peer


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        peer = self.server.peer
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        peer.seen.append((self.command, self.headers["Authorization"], body))
        refused = peer.demands and not self.headers["Authorization"]
        self.send_response(401 if refused else peer.status)
        if refused:
            self.send_header("WWW-Authenticate", peer.demands)
        if peer.location:
            self.send_header("Location", peer.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_POST

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def peers() -> Iterator[tuple[Peer, Peer]]:
    """A registry that wants a password, and a stranger."""
    servers = [_Server(("127.0.0.1", 0), _Handler) for _ in range(2)]
    for server in servers:
        server.peer = Peer(f"localhost:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].peer.demands = 'Basic realm="r"'
    yield servers[0].peer, servers[1].peer
    for server in servers:
        server.shutdown()
        server.server_close()


def uploads(registry: Peer, transport: Transport) -> Uploads:
    reference = parse_reference(f"{registry.address}/app")
    return Uploads(Repository(transport, reference, Credentials("user", "password"), ()), transport)


@pytest.mark.parametrize("demands", ["", 'Basic realm="r"'])
def test_an_uploads_place_elsewhere_gets_no_credentials(peers: tuple[Peer, Peer], demands: str) -> None:
    registry, stranger = peers
    registry.location = f"http://{stranger.address}/upload"
    stranger.demands = demands
    sending = uploads(registry, Transport(RegistrySettings(timeout=5)))
    if demands:
        with pytest.raises(Exception, match="no basic auth credentials"):
            sending.send_small(b"{}", DIGEST)
    else:
        sending.send_small(b"{}", DIGEST)
    assert registry.seen[-1][1]
    assert stranger.seen == [("PUT", None, b"{}")]


def test_an_uploads_place_must_be_safe(peers: tuple[Peer, Peer]) -> None:
    registry, _ = peers
    registry.location = "http://registry.example/upload"
    with pytest.raises(PeerMisbehaved, match="redirect to http://registry"):
        uploads(registry, Transport(RegistrySettings(timeout=5))).send_small(b"{}", DIGEST)


def test_a_body_isnt_sent_to_another_host(peers: tuple[Peer, Peer]) -> None:
    server, stranger = peers
    server.demands, server.status, server.location = "", 307, f"http://{stranger.address}/"
    transport = Transport(RegistrySettings(timeout=5))
    url = f"http://{server.address}/token"
    assert transport.request(url, {}, b"refresh_token=secret", "POST").status == 307
    assert not stranger.seen
    assert transport.request(url, {"Authorization": "Basic x"}, b"", "POST").status == 202
    assert stranger.seen == [("POST", None, b"")]


class _Keeping(http.server.BaseHTTPRequestHandler):
    """A registry that keeps what came of an upload, and tells how much: distribution-spec, "Pushing a blob in chunks".

    The first connection that brings a body is cut after `cut` bytes of it.
    """

    kept: ClassVar[bytearray]
    cut: ClassVar[int]
    begun: ClassVar[list[str]]

    def do_POST(self) -> None:
        self._answer(202)

    def do_PATCH(self) -> None:
        self.begun.append(self.headers["Content-Range"] or "")
        while size := int(self.rfile.readline(), 16):
            self.kept.extend(self.rfile.read(size))
            self.rfile.readline()
            if 0 < self.cut <= len(self.kept):
                del self.kept[self.cut :]
                type(self).cut = 0
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
        self.rfile.readline()
        self._answer(202)

    def do_GET(self) -> None:
        self._answer(204)

    def do_PUT(self) -> None:
        self._answer(201)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Location", "/upload")
        self.send_header("Range", f"0-{max(len(self.kept) - 1, 0)}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_an_upload_goes_on_where_it_broke_off() -> None:
    _Keeping.kept, _Keeping.cut, _Keeping.begun = bytearray(), 70_000, []
    data = random.Random(1).randbytes(300_000)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Keeping) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            transport = Transport(RegistrySettings(timeout=5, retry_delay=0.01))
            sending = uploads(Peer(f"localhost:{server.server_address[1]}"), transport)
            sent = sending.send(lambda: iter([data[:100_000], data[100_000:]]), lambda _passed: None)
        finally:
            server.shutdown()
            thread.join()
    assert (sent.size, sent.digest) == (len(data), f"sha256:{hashlib.sha256(data).hexdigest()}")
    assert _Keeping.kept == data and _Keeping.begun == ["", "70000-"]
