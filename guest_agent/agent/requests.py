"""Streams that programs in the guest open: they connect to a socket and write one line, the service request."""

from __future__ import annotations

import json
import os
import socket

from guest_agent.agent.endpoints import SocketEndpoint
from guest_agent.agent.loop import READ, Loop
from guest_agent.wire.channel import Multiplexer
from guest_agent.wire.errors import HostvmError, InvalidArgument, error_record
from guest_agent.wire.pump import Pump

_LONGEST_LINE = 4096


class HostSocket:
    """The listener, readable and writable by root alone."""

    def __init__(self, loop: Loop, mux: Multiplexer, path: str) -> None:
        self._loop = loop
        self._mux = mux
        self._listener = listen(path)
        loop.watch(self._listener.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        client.setblocking(False)
        line = bytearray()
        self._loop.watch(client.fileno(), READ, lambda _events: self._read(client, line))

    def _read(self, client: socket.socket, line: bytearray) -> None:
        try:
            data = client.recv(_LONGEST_LINE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        line += data
        request, ended, rest = line.partition(b"\n")
        if ended or not data or len(line) > _LONGEST_LINE:
            self._loop.watch(client.fileno(), 0, self._accept)
            self._open(client, bytes(request), bytes(rest))

    def _open(self, client: socket.socket, line: bytes, rest: bytes) -> None:
        endpoint = SocketEndpoint(self._loop, client)
        endpoint.pump = pump = RequestPump(endpoint, client)
        try:
            stream = self._mux.open(parse_request(line), pump)
        except HostvmError as error:
            pump.reset(error)
            return
        stream.write(rest)
        pump.begin(stream)


class RequestPump(Pump):
    """A refusal is told to the program as one line of JSON."""

    def __init__(self, endpoint: SocketEndpoint, client: socket.socket) -> None:
        super().__init__(endpoint, lambda _outcome: None)
        self._client = client
        self._was_accepted = False

    def accepted(self) -> None:
        self._was_accepted = True

    def reset(self, error: HostvmError) -> None:
        if not self._was_accepted:
            record = error_record(error)
            try:
                self._client.send(json.dumps({"error": record}).encode() + b"\n")
            except OSError:
                pass  # it didn't wait for an answer
        super().reset(error)


def parse_request(line: bytes) -> dict[str, object]:
    try:
        request = json.loads(line)
    except ValueError:
        request = None
    if not isinstance(request, dict):
        raise InvalidArgument("a request is one line with a JSON object")
    return request


def listen(path: str) -> socket.socket:
    """In place of one that a predecessor left."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    if os.path.lexists(path):
        os.unlink(path)
    old_mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(old_mask)
    listener.listen(128)
    return listener
