"""The API's common calls by one raw client over HTTP, on both engines in turn: what is measured is the engine alone."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.bench.contenders import IMAGE, Contender, Docker, Hostvm
from tests.bench.figures import Promise, Result
from tests.bench.timing import interleave

LINES = 100_000
#: Times that a call of less than some milliseconds is made for one sample: the other processes' turns aren't its own.
TIMES = {"list": 20, "inspect": 20, "events": 5}
RUNNING = 20


class Client:
    """A connection that is kept, as clients' pools do; what answers with a stream has one of its own."""

    def __init__(self, address: str) -> None:
        self._path = address.removeprefix("unix://")
        self._connection = self._connect()

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost", timeout=120)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self._path)
        return connection

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The parsed answer; None for an empty one. Raises RuntimeError for an error."""
        return _ask(self._connection, method, path, body)

    def read(self, method: str, path: str, body: object = None) -> bytes:
        """All of a stream."""
        connection = self._connect()
        try:
            _send(connection, method, path, body)
            return connection.getresponse().read()
        finally:
            connection.close()


def _send(connection: http.client.HTTPConnection, method: str, path: str, body: object) -> None:
    """As Docker's clients do: JSON with a POST only."""
    if method == "POST":
        connection.request(method, f"/v1.41{path}", json.dumps(body or {}), {"Content-Type": "application/json"})
    else:
        connection.request(method, f"/v1.41{path}")


def _ask(connection: http.client.HTTPConnection, method: str, path: str, body: object) -> Any:
    _send(connection, method, path, body)
    answer = connection.getresponse()
    data = answer.read()
    if answer.status >= 400:
        raise RuntimeError(f"{method} {path}: {answer.status} {data!r}")
    return json.loads(data) if data.strip() else None


class Calls:
    """The scene on one engine: some running containers, one that has printed much; and a method for each call."""

    def __init__(self, address: str) -> None:
        self._client = Client(address)
        self._begin = int(time.time()) - 1
        self._running = [self._start(["sleep", "3600"]) for _ in range(RUNNING)]
        self._printed = self._start(["seq", "1", str(LINES)])
        self._client.call("POST", f"/containers/{self._printed}/wait")

    def _start(self, command: list[str]) -> str:
        made = self._client.call("POST", "/containers/create", {"Image": IMAGE, "Cmd": command})
        self._client.call("POST", f"/containers/{made['Id']}/start")
        return str(made["Id"])

    def list(self) -> None:
        assert len(self._client.call("GET", "/containers/json")) == RUNNING

    def inspect(self) -> None:
        assert self._client.call("GET", f"/containers/{self._running[0]}/json")["State"]["Running"]

    def run(self) -> None:
        """create + start + wait + remove."""
        identity = self._start(["true"])
        assert self._client.call("POST", f"/containers/{identity}/wait")["StatusCode"] == 0
        self._client.call("DELETE", f"/containers/{identity}")

    def exec(self) -> None:
        wanted = {"Cmd": ["echo", "hello"], "AttachStdout": True}
        made = self._client.call("POST", f"/containers/{self._running[0]}/exec", wanted)
        assert self._client.read("POST", f"/exec/{made['Id']}/start").endswith(b"hello\n")

    def logs(self) -> None:
        told = self._client.read("GET", f"/containers/{self._printed}/logs?stdout=1")
        assert told.endswith(f"{LINES}\n".encode())

    def events(self) -> None:
        told = self._client.read("GET", f"/events?since={self._begin}&until={int(time.time())}")
        assert told.count(b'"timeNano"') >= RUNNING


NAMES = {
    "list": "ps",
    "inspect": "inspect",
    "run": "create + start + wait + remove",
    "exec": "exec",
    "logs": f"logs of {LINES:,} lines",
    "events": "events",
}


def measure_api(contenders: Sequence[Contender], rounds: int) -> Result:
    """Each call on hostvm and docker; podman's service isn't one of those that are compared."""
    scenes = {one.name: Calls(one.address) for one in contenders if isinstance(one, Docker | Hostvm)}
    measures = {
        f"{engine} {title}": _timed(getattr(scene, name), TIMES.get(name, 1))
        for name, title in NAMES.items()
        for engine, scene in scenes.items()
    }
    result = Result("api", "common calls of the API", "ms", interleave(measures, rounds), ())
    if len(scenes) < 2:
        return result
    promises = [
        Promise(f"{title}, docker's time by hostvm's", _ratio(result, title), at_least=1) for title in NAMES.values()
    ]
    return Result(result.name, result.title, result.unit, result.samples, promises)


def _ratio(result: Result, title: str) -> float:
    return result.median(f"docker {title}") / result.median(f"hostvm {title}")


def _timed(call: Callable[[], None], times: int) -> Callable[[], float]:
    def milliseconds() -> float:
        begin = time.perf_counter()
        for _ in range(times):
            call()
        return (time.perf_counter() - begin) * 1000 / times

    return milliseconds
