"""A registry with an authority of its own, as companies have them, and one that wants to know who we are."""

from __future__ import annotations

import http.server
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from guest_agent.images.reference import parse_reference
from guest_agent.images.registry import Repository
from guest_agent.images.transport import RegistrySettings, Transport
from guest_agent.wire.errors import InvalidArgument, Unavailable

MANIFEST = b'{"schemaVersion": 2}'
Start = Callable[..., str]


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(MANIFEST)))
        self.end_headers()
        self.wfile.write(MANIFEST)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(http.server.HTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A handshake that fails is what some of these tests are about."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that is its own authority, and its key. Its address is no loopback to us: see `start`."""
    folder = tmp_path_factory.mktemp("pair")
    certificate, key = folder / "own.crt", folder / "own.key"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=registry.test"
    names = ["-addext", "subjectAltName=DNS:registry.test"]
    argv = ["openssl", *words.split(), *names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(argv, check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def start(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a registry; its host:port. `registry.test` is this host, and not known as loopback."""
    monkeypatch.setattr("guest_agent.images.dialling.dial_address", lambda host, _: "127.0.0.1")
    with ExitStack() as stack:

        def serve(with_tls: bool = True, wants_certificate: bool = False) -> str:
            server = stack.enter_context(_Server(("127.0.0.1", 0), _Handler))
            if with_tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*pair)
                if wants_certificate:
                    context.verify_mode = ssl.CERT_REQUIRED
                    context.load_verify_locations(pair[0])
                server.socket = context.wrap_socket(server.socket, server_side=True)
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"registry.test:{server.server_address[1]}"

        yield serve


def ask(host: str, folder: Path, *insecure: str) -> bytes:
    settings = RegistrySettings(insecure=insecure, timeout=5, certificates=str(folder))
    return Repository(Transport(settings), parse_reference(f"{host}/x"), None).manifest("1").data


def test_an_authority_that_is_not_the_system_s(start: Start, pair: tuple[Path, Path], tmp_path: Path) -> None:
    host = start()
    with pytest.raises(Unavailable) as caught:
        ask(host, tmp_path)
    assert caught.value.message == (
        f'Get "https://{host}/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority'
    )
    assert "/etc/docker/certs.d/HOST:PORT/ca.crt" in caught.value.hint
    assert ask(host, tmp_path, host) == MANIFEST
    (tmp_path / host).mkdir()
    shutil.copy(pair[0], tmp_path / host / "ca.crt")
    assert ask(host, tmp_path) == MANIFEST


def test_a_certificate_of_ours(start: Start, pair: tuple[Path, Path], tmp_path: Path) -> None:
    host = start(wants_certificate=True)
    place = tmp_path / host
    place.mkdir()
    shutil.copy(pair[0], place / "ca.crt")
    with pytest.raises(Unavailable):
        ask(host, tmp_path)
    shutil.copy(pair[0], place / "client.cert")
    with pytest.raises(InvalidArgument, match=r"missing key client\.key for it"):
        ask(host, tmp_path)
    shutil.copy(pair[1], place / "client.key")
    assert ask(host, tmp_path) == MANIFEST
    (place / "ca.crt").write_text("no certificate")
    with pytest.raises(InvalidArgument, match=r"can't use the certificate .*/ca\.crt"):
        ask(host, tmp_path)


def test_a_registry_without_tls(start: Start, tmp_path: Path) -> None:
    """The first thing that anybody with a registry of his own meets; in the words that he finds explained."""
    host = start(with_tls=False)
    with pytest.raises(Unavailable, match="http: server gave HTTP response to HTTPS client") as caught:
        ask(host, tmp_path)
    assert "`insecure`" in caught.value.hint
    assert ask(host, tmp_path, host) == MANIFEST
