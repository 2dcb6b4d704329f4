"""Requests as Docker's description allows them, made up by schemathesis: each is answered, and never by a crash.

Fixed seed, no database of examples: the same requests in every run. How many there are for each operation is a budget
of time (half a minute natively), no measure of anything.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.core.result import Ok

from tests.behaviour.conftest import MachineMaker
from tests.behaviour.harness.machine import Machine

DESCRIPTION = Path(__file__).parents[1] / "data" / "docker-api" / "v1.44.yaml"
EXAMPLES = 6

#: Names that mean something to the engine, so that not every request ends at "no such container".
NAMES = ["box", "busybox", "bridge", "gone"]

#: Bodies that are archives: schemathesis makes none. They have tests of their own.
ARCHIVES = {"POST /images/load", "POST /plugins/create"}

#: Where a stream was asked for, dockerd refuses in a line of plain text.
ATTACHED = "application/vnd.docker.raw-stream"


def description() -> dict[str, Any]:
    """Docker's own, with some of our names for the things that its paths name."""
    described: dict[str, Any] = yaml.safe_load(DESCRIPTION.read_text())
    for operation in (one for path in described["paths"].values() for one in path.values()):
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path" and parameter["name"] in ("id", "name"):
                parameter["enum"] = NAMES
    described["definitions"]["ContainerConfig"]["properties"]["Image"]["enum"] = NAMES
    return described


def operations() -> Iterator[Any]:
    schema = schemathesis.openapi.from_dict(description())
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), f"Docker's description is damaged: {result}"
        operation = result.ok()
        if operation.label not in ARCHIVES:
            yield operation


def ask(machine: Machine, request: requests.PreparedRequest) -> tuple[int, str, bytes]:
    """Status, type, and the body if it is a whole one; a stream is left behind, as by a client that has seen enough."""
    connection = http.client.HTTPConnection("docker", timeout=120)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(120)
    connection.sock.connect(machine.socket)
    try:
        body = request.body if isinstance(request.body, bytes) else str(request.body or "").encode()
        connection.request(request.method or "", request.path_url, body, dict(request.headers))
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"] or "", answer.read() if answer.length is not None else b""
    finally:
        connection.close()


def check(machine: Machine, case: Any) -> None:
    arguments = case.as_transport_kwargs(base_url="http://docker")
    arguments.pop("cookies", None)
    status, kind, body = ask(machine, requests.Request(**arguments).prepare())
    if status >= 400 and case.method.upper() != "HEAD":
        sound = body.strip() if kind == ATTACHED else is_refusal(body)
        assert sound, f"{case.as_curl_command()} -> {status} {body[:500]!r}"


def is_refusal(body: bytes) -> bool:
    """One of docker's, with a reason that is the caller's."""
    refusal = json.loads(body or b"{}")
    return bool(refusal.get("message")) and refusal.get("kind") != "internal"


def test_whatever_is_asked_is_answered(fresh_machine: MachineMaker) -> None:
    machine = fresh_machine("busybox")
    machine("run", "-d", "--name", "box", "--stop-timeout", "0", "busybox", "sleep", "3600")
    engine = machine.engine_pid()

    for operation in operations():

        @seed(1)
        @settings(
            max_examples=EXAMPLES, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy())
        def requests_of_one(case: Any) -> None:
            check(machine, case)

        requests_of_one()
    assert machine.engine_pid() == engine
    assert machine("ps", "-q") is not None
