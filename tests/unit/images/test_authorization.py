"""Token servers: an identity token is given for a password, and takes its place from then on."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from guest_agent.images.inquiries import log_in
from guest_agent.images.reference import parse_reference
from guest_agent.images.registry import Repository
from guest_agent.images.transport import RegistrySettings, Transport
from guest_agent.wire.errors import Unauthorized
from guest_agent.wire.models import Credentials

MANIFEST = b'{"schemaVersion": 2}'
PASSWORD = f"Basic {base64.b64encode(b'ann:secret').decode()}"
SETTINGS = RegistrySettings(timeout=5)


class _Server(http.server.ThreadingHTTPServer):
    #: What the token server was asked for, without the service.
    asked: list[dict[str, str]]
    address: str
    #: A token server may give an identity token even to one who didn't ask.
    gives_identity = True


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/token":
            query = self._note(url.query)
            wanted = self.server.gives_identity and query.get("offline_token") == "true"
            identity = {"refresh_token": "identity"} if wanted else {}
            right = self.headers["Authorization"] == PASSWORD
            self._answer(200 if right else 401, json.dumps({"token": "t0k", **identity}).encode())
        elif self.headers["Authorization"] == "Bearer t0k":
            self._answer(200, MANIFEST)
        else:
            self._answer(401, b"", f'Bearer realm="http://{self.server.address}/token",service="s"')

    def do_POST(self) -> None:
        form = self._note(self.rfile.read(int(self.headers["Content-Length"])).decode())
        right = form["refresh_token"] == "identity"
        self._answer(200 if right else 401, b'{"access_token": "t0k"}')

    def _note(self, encoded: str) -> dict[str, str]:
        fields = {name: values[0] for name, values in parse_qs(encoded).items()}
        assert fields.pop("service") == "s"
        self.server.asked.append(fields)
        return fields

    def _answer(self, status: int, body: bytes, challenge: str = "") -> None:
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _Handler) as serving:
        serving.asked, serving.address = [], f"127.0.0.1:{serving.server_address[1]}"
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def pull(server: _Server, credentials: Credentials) -> bytes:
    reference = parse_reference(f"{server.address}/team/app:1")
    return Repository(Transport(SETTINGS), reference, credentials).manifest("1").data


def test_a_login_asks_for_an_identity_token(server: _Server) -> None:
    assert log_in(server.address, SETTINGS, Credentials("ann", "secret")) == "identity"
    assert server.asked == [{"offline_token": "true", "client_id": "hostvm"}]
    with pytest.raises(Unauthorized, match="unauthorized: incorrect username or password"):
        log_in(server.address, SETTINGS, Credentials("ann", "guess"))


def test_a_token_server_that_gives_none(server: _Server) -> None:
    server.gives_identity = False
    assert log_in(server.address, SETTINGS, Credentials("ann", "secret")) == ""


def test_an_identity_token_is_as_good_as_a_password(server: _Server) -> None:
    credentials = Credentials("ann", "", "identity")
    assert pull(server, credentials) == MANIFEST
    grant = {"grant_type": "refresh_token", "refresh_token": "identity", "client_id": "hostvm"}
    assert server.asked == [{**grant, "scope": "repository:team/app:pull"}]
    assert log_in(server.address, SETTINGS, credentials) == "identity", "it stays where the server gives no other"
    with pytest.raises(Unauthorized):
        pull(server, Credentials("ann", "", "revoked"))


def test_a_pull_asks_for_no_identity_token(server: _Server) -> None:
    assert pull(server, Credentials("ann", "secret")) == MANIFEST
    assert server.asked == [{"scope": "repository:team/app:pull"}]
