"""What isn't here: swarms and plugins, refused as a dockerd outside a swarm does; and attach over a websocket."""

from __future__ import annotations

import socket

import pytest

from tests.unit.api.conftest import Api
from tests.unit.api.test_websocket_frames import masked
from tests.unit.http.serving import receive_all, receive_until

NO_MANAGER = (
    503,
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again.",
)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/swarm"), ("GET", "/swarm/unlockkey"), ("POST", "/swarm/unlock"), ("GET", "/nodes"),
        ("GET", "/nodes/abc"), ("DELETE", "/nodes/abc"), ("POST", "/nodes/abc/update?version=1"), ("GET", "/services"),
        ("POST", "/services/create"), ("GET", "/services/web/logs"), ("GET", "/tasks"), ("GET", "/tasks/1"),
        ("GET", "/v1.41/secrets"), ("POST", "/secrets/create"), ("POST", "/configs/x/update?version=7"),
        ("DELETE", "/configs/x"), ("POST", "/swarm/update?version=3"),
    ],
)  # fmt: skip
def test_no_swarm(api: Api, method: str, path: str) -> None:
    assert api.message(method, path, {} if method == "POST" else None) == NO_MANAGER


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1.44/services/x/update", "invalid service version '': strconv.ParseUint: parsing \"\": invalid syntax"),
        ("/secrets/x/update?version=x", "invalid secret version"),
        ("/swarm/update?version=-1", "invalid swarm version '-1': strconv.ParseUint: parsing \"-1\": invalid syntax"),
    ],
)
def test_versions_of_what_is_updated(api: Api, path: str, message: str) -> None:
    assert api.message("POST", path, {}) == (400, message)


@pytest.mark.parametrize("noun", ["nodes", "services", "tasks", "secrets", "configs"])
def test_lists_of_a_swarm(api: Api, noun: str) -> None:
    assert api.message("GET", f"/{noun}", filters={"name": ["x"]})[0] == 503
    assert api.message("GET", f"/{noun}?filters=x") == (400, "invalid filter")


def test_leaving_what_one_is_not_in(api: Api) -> None:
    assert api.message("POST", "/swarm/leave") == (503, "This node is not part of a swarm")
    assert api.message("POST", "/swarm/init", {})[0] == 501
    assert api.message("POST", "/services/create", b"{")[0] == 400


def test_no_plugins(api: Api) -> None:
    assert api.call("GET", "/plugins") == (200, [])
    assert api.message("GET", "/plugins?filters=" + "{%22x%22:[%22y%22]}")[0] == 400
    assert api.message("GET", "/plugins/a/b:latest/json") == (404, 'plugin "a/b:latest" not found')
    assert api.message("POST", "/plugins/x/enable") == (404, 'plugin "x" not found')
    assert api.message("DELETE", "/plugins/x") == (404, 'plugin "x" not found')


HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: d\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def open_websocket(api: Api, path: bytes) -> tuple[bytes, socket.socket]:
    client = api.place.connect()
    client.sendall(HANDSHAKE % path)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    return head, client


def test_attach_over_a_websocket(api: Api) -> None:
    api.create("web", OpenStdin=True)
    head, client = open_websocket(api, b"/containers/web/attach/ws?stream=1&stdin=1&stdout=1&stderr=1")
    assert head.startswith(b"HTTP/1.1 101 ") and b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    api.call("POST", "/containers/web/start")
    client.sendall(masked(2, b"ty", final=False) + masked(9, b"?") + masked(0, b"ped"))
    seen = receive_until(client, b"PED")
    assert seen.startswith(b"\x82\x04out\n\x82\x04err\n")
    assert b"\x8a\x01?" in seen and b"\x82\x02TY" in seen
    client.sendall(masked(8, b"\x03\xe9"))
    assert receive_all(client) == b"\x88\x02\x03\xe9"


def test_old_clients_get_text_and_all_streams(api: Api) -> None:
    api.create("web")
    _head, client = open_websocket(api, b"/v1.27/containers/web/attach/ws?stream=1")
    api.call("POST", "/containers/web/start")
    assert receive_all(client) == b"\x81\x04out\n\x81\x04err\n\x88\x02\x03\xe8"


def test_a_client_that_breaks_the_protocol_is_told_so(api: Api) -> None:
    api.create("web", OpenStdin=True, Cmd=["sleep"])
    api.call("POST", "/containers/web/start")
    _head, client = open_websocket(api, b"/containers/web/attach/ws?stream=1&stdin=1")
    client.sendall(b"\x81\x02hi")
    assert receive_all(client).endswith(b"\x88\x02\x03\xea")


def test_whom_nobody_knows_comes_before_a_bad_handshake(api: Api) -> None:
    assert api.message("GET", "/containers/nobody/attach/ws")[0] == 404


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        (b"Upgrade: websocket\r\n", "not websocket protocol"),
        (b"Sec-WebSocket-Version: 13\r\n", "missing or bad WebSocket Version"),
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "mismatch challenge/response"),
    ],
)
def test_bad_handshakes(api: Api, left_out: bytes, message: str) -> None:
    api.create("web")
    client = api.place.connect()
    request = (HANDSHAKE % b"/containers/web/attach/ws").replace(left_out, b"Connection: close\r\n")
    client.sendall(request)
    answer = receive_all(client)
    assert answer.startswith(b"HTTP/1.1 400 ") and message.encode() in answer
