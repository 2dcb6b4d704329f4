"""Mirrors: who is asked in which order, and who sees the registry's credentials."""

from __future__ import annotations

import base64
import http.server
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

from guest_agent.images.reference import parse_reference
from guest_agent.images.registry import Repository
from guest_agent.images.transport import RegistrySettings, Transport
from guest_agent.wire.errors import NotFound, Unauthorized
from guest_agent.wire.models import Credentials

MANIFEST = b'{"schemaVersion": 2}'
SECRET = f"Basic {base64.b64encode(b'ann:secret').decode()}"


@dataclass
class Host:
    """A registry. It refuses who shows nothing where it `demands` something; `seen` are the Authorization headers."""

    address: str
    demands: str = ""
    status: int = 200
    seen: list[str] = field(default_factory=list)


class _Server(http.server.ThreadingHTTPServer):
    host: Host


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        host, shown = self.server.host, self.headers["Authorization"] or ""
        host.seen.append(shown)
        token = self.path.startswith("/token")
        refused = host.demands and not shown and not token
        body = b'{"token": "t"}' if token else MANIFEST
        status = 401 if refused else 200 if token else host.status
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", host.demands)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def running() -> Iterator[Host]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.host = Host(f"127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.host
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """A mirror, and the registry that it stands for."""
    with ExitStack() as undo:
        yield undo.enter_context(running()), undo.enter_context(running())


def repository(mirror: str, registry: str) -> Repository:
    settings = RegistrySettings(mirrors={registry: (mirror,)}, timeout=5, retries=0)
    reference = parse_reference(f"{registry}/team/app:1")
    return Repository(Transport(settings), reference, Credentials("ann", "secret"))


@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
def test_a_mirror_gets_no_credentials(hosts: tuple[Host, Host], scheme: str) -> None:
    """They are the registry's. What the mirror refuses to a stranger comes from the registry itself."""
    mirror, registry = hosts
    mirror.status = 403
    for host in hosts:
        host.demands = f'{scheme} realm="http://{host.address}/token",service="s"'
    asked = repository(f"http://{mirror.address}", registry.address)
    assert asked.manifest("1").data == MANIFEST
    assert SECRET in registry.seen
    assert SECRET not in mirror.seen and mirror.seen[0] == ""


def test_a_mirror_on_the_registry_s_own_host_is_the_registry(hosts: tuple[Host, Host]) -> None:
    _, registry = hosts
    registry.demands = 'Basic realm="r"'
    assert repository(f"http://{registry.address}", registry.address).manifest("1").data == MANIFEST
    assert registry.seen == ["", SECRET]


def test_where_a_mirror_goes_away_the_registry_goes_on(hosts: tuple[Host, Host]) -> None:
    mirror, registry = hosts
    asked = repository(f"http://{mirror.address}", registry.address)
    assert asked.manifest("1").data == MANIFEST and not registry.seen
    mirror.status = 503
    assert asked.manifest("1").data == MANIFEST and registry.seen == [""]
    mirror.status = 200
    asked.manifest("1")
    assert (len(mirror.seen), len(registry.seen)) == (2, 2), "a mirror that failed isn't asked again"


def test_the_registry_s_refusal_is_the_one_that_is_told(hosts: tuple[Host, Host]) -> None:
    mirror, registry = hosts
    mirror.status, registry.status = 404, 403
    with pytest.raises(Unauthorized, match="pull access denied for 127"):
        repository(f"http://{mirror.address}", registry.address).manifest("1")


def test_what_docker_hub_keeps_from_a_stranger_is_missing(hosts: tuple[Host, Host]) -> None:
    """It answers 401 again, to a token without the scope; docker's clients take the 404 that dockerd makes of it."""
    _, registry = hosts
    registry.status = 401
    registry.demands = f'Bearer realm="http://{registry.address}/token",error="insufficient_scope"'
    reference = parse_reference(f"{registry.address}/x")
    refused = "denied: requested access to the resource is denied"
    with pytest.raises(NotFound, match=f"pull access denied for {registry.address}/x, .*'docker login': {refused}"):
        Repository(Transport(RegistrySettings()), reference, None).manifest("1")
    with pytest.raises(Unauthorized, match=f"^{refused}"):
        Repository(Transport(RegistrySettings()), reference, None, ()).manifest("1")
