"""The API over a real unix socket, with an engine in memory."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from guest_agent.api.application import EngineApplication
from guest_agent.api.contract import Engine
from guest_agent.api.messages import Application
from tests.description.checking import Exchange, deviations
from tests.unit.api.fake_engine import FakeEngine
from tests.unit.http.serving import Served, receive_until, served


class Api:
    """A blocking client; `engine` is what stands behind the socket."""

    def __init__(self, place: Served, engine: FakeEngine) -> None:
        self.place = place
        self.engine = engine

    def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("docker", timeout=10)
        connection.sock = self.place.connect()
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if data else {}
        connection.request(method, path, data, {**kind, **(headers or {})})
        return connection.getresponse()

    def call(self, method: str, path: str, body: object = None, **query: object) -> tuple[int, object]:
        """(status, parsed body); a dict or list in the query goes as JSON."""
        pairs = [f"{name}={quote(_text(value))}" for name, value in query.items()]
        target = path + ("?" + "&".join(pairs) if pairs else "")
        answer = self.ask(method, target, body)
        data = answer.read()
        exchange = Exchange(method, target, answer.status, answer.headers.get("Content-Type", ""), data)
        assert deviations(exchange) == []
        return answer.status, json.loads(data) if data else None

    def message(self, method: str, path: str, body: object = None, **query: object) -> tuple[int, str]:
        status, answer = self.call(method, path, body, **query)
        assert isinstance(answer, dict)
        return status, str(answer["message"])

    def create(self, name: str = "web", **config: object) -> str:
        status, answer = self.call("POST", f"/containers/create?name={name}", {"Image": "busybox", **config})
        assert status == 201 and isinstance(answer, dict)
        return str(answer["Id"])

    def hijack(self, path: str, body: object = None, upgrade: str = "tcp") -> tuple[bytes, socket.socket]:
        """The head of the answer, and the stream behind it (what came with the head is still to be read)."""
        data = json.dumps(body).encode() if body is not None else b""
        client = self.place.connect()
        client.sendall(
            f"POST {path} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            + data
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        return head, client


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


@pytest.fixture
def api() -> Iterator[Api]:
    engine: list[FakeEngine] = []

    def make() -> Application:
        engine.append(FakeEngine())
        checked: Engine = engine[0]
        return EngineApplication(checked)

    with served(make) as place:
        yield Api(place, engine[0])


__all__ = ["Api", "api", "receive_until"]
