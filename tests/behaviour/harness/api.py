"""Requests straight at a machine's engine, for what no command line asks or shows."""

from __future__ import annotations

import base64
import io
import json
import socket
import tarfile
from http.client import HTTPConnection, HTTPResponse

from tests.behaviour.harness.machine import Machine
from tests.behaviour.harness.waiting import PATIENCE, patience


class Api:
    """One request a connection."""

    def __init__(self, machine: Machine) -> None:
        self._socket = machine.socket

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[HTTPResponse, bytes]:
        connection = self._connect()
        connection.request(method, path, body)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response, data

    def put(self, container: str, path: str, body: bytes, more: str = "") -> tuple[int, str]:
        response, data = self.ask("PUT", f"/v1.44/containers/{container}/archive?path={path}{more}", body)
        return response.status, str(json.loads(data)["message"]) if data else ""

    def stat(self, container: str, path: str) -> dict[str, object]:
        response, _ = self.ask("HEAD", f"/v1.44/containers/{container}/archive?path={path}")
        assert response.status == 200
        found = json.loads(base64.b64decode(response.headers["X-Docker-Container-Path-Stat"]))
        assert isinstance(found, dict)
        return found

    def names(self, container: str, path: str) -> list[str]:
        response, data = self.ask("GET", f"/v1.44/containers/{container}/archive?path={path}")
        assert response.status == 200, data
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return archive.getnames()

    def call(self, method: str, path: str, body: object = None) -> tuple[int, object]:
        """(status, what the JSON says); None for an empty answer."""
        connection = self._connect()
        data = None if body is None else json.dumps(body)
        connection.request(method, f"/v1.44{path}", data, {"Content-Type": "application/json"} if data else {})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, json.loads(text) if text else None

    def raw(self, path: str, body: object = None, send: bytes = b"") -> bytes:
        """Everything that comes after the head of a hijacked exchange, until the engine ends it."""
        data = json.dumps(body).encode() if body is not None else b""
        stream = self._stream()
        head = f"POST /v1.44{path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        with stream:
            stream.sendall(head.encode() + data + send)
            answer = b""
            while piece := stream.recv(1 << 16):
                answer += piece
        return answer.partition(b"\r\n\r\n")[2]

    def _stream(self) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(patience(PATIENCE))
        stream.connect(self._socket)
        return stream

    def _connect(self) -> HTTPConnection:
        connection = HTTPConnection("engine", timeout=patience(PATIENCE))
        connection.sock = self._stream()
        return connection
