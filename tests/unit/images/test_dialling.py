"""Where a connection goes to (inside a machine, the user's loopback isn't the machine's), and what ends it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import pytest

from guest_agent.images.dialling import Dialler, dial_address
from guest_agent.images.transport import RegistrySettings, Transport, reason
from tests.unit.descriptors import open_descriptors

PATIENCE = 30.0
HALF_AN_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhalf"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_loopback_is_the_users(host: str) -> None:
    assert dial_address(host, "10.0.2.2") == "10.0.2.2"
    assert dial_address(host, "") == host


@pytest.mark.parametrize("host", ["registry.example", "10.0.0.1", "localhost.example"])
def test_other_hosts_are_themselves(host: str) -> None:
    assert dial_address(host, "10.0.2.2") == host


@pytest.mark.parametrize(
    ("host", "failure", "words"),
    [
        ("127.0.0.1", ConnectionRefusedError, "dial tcp 127.0.0.1:1: connect: connection refused"),
        ("nosuchdomain.invalid", socket.gaierror, "dial tcp: lookup nosuchdomain.invalid: no such host"),
    ],
)
def test_who_is_not_reached_is_told_as_go_does(host: str, failure: type[OSError], words: str) -> None:
    dialler = Dialler()
    with pytest.raises(failure) as caught:
        dialler.http(host, 1, timeout=PATIENCE).connect()
    assert reason(caught.value) == words
    dialler.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        listening.settimeout(PATIENCE)
        yield listening


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


class Asking:
    """A request in a thread, which would wait for an hour."""

    def __init__(self, transport: Transport, url: str) -> None:
        self._transport, self._url = transport, url
        self.answered = threading.Event()
        self._failures: list[Exception] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._transport.request(self._url, {}) as response:
                self.answered.set()
                list(response.chunks())
        except (OSError, HTTPException) as error:
            self._failures.append(error)

    def end(self) -> list[Exception]:
        """What the request has ended with, after an abort; a short body is for its reader to find."""
        self._transport.abort()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self._failures


def make_transport() -> Transport:
    return Transport(RegistrySettings(timeout=3600))


def test_a_connection_that_is_not_taken_is_given_up(listener: socket.socket) -> None:
    """The queue of a server that takes nobody is full with one; the kernel would try for two minutes."""
    before = open_descriptors()
    with socket.create_connection(listener.getsockname()):
        asking = Asking(make_transport(), f"http://127.0.0.1:{port_of(listener)}/v2/")
        wait_until_connecting(port_of(listener))
        assert asking.end()
    assert open_descriptors() <= before


@pytest.mark.parametrize(("scheme", "answer"), [("https", b""), ("http", b""), ("http", HALF_AN_ANSWER)])
def test_a_silent_server_is_not_waited_for(listener: socket.socket, scheme: str, answer: bytes) -> None:
    """Whether it is TLS's greeting that it doesn't answer, the request, or the rest of the body that doesn't come."""
    before = open_descriptors()
    asking = Asking(make_transport(), f"{scheme}://127.0.0.1:{port_of(listener)}/v2/")
    line, _ = listener.accept()
    with line:
        line.recv(4096)
        if answer:
            line.sendall(answer)
            assert asking.answered.wait(PATIENCE)
        asking.end()
    assert open_descriptors() <= before


def test_a_proxy_is_asked_for_a_tunnel(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port_of(listener)}")
    monkeypatch.setenv("no_proxy", "")
    asking = Asking(make_transport(), "https://registry.example/v2/")
    line, _ = listener.accept()
    with line:
        assert line.recv(4096).startswith(b"CONNECT registry.example:443 HTTP/1.")
        assert asking.end()


def test_nothing_is_connected_after_an_abort(listener: socket.socket) -> None:
    dialler = Dialler()
    dialler.abort()
    with pytest.raises(ConnectionAbortedError):
        dialler.http("127.0.0.1", port_of(listener), timeout=PATIENCE).connect()
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_an_abort_just_before_the_connection_counts(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    connect, dialler = socket.socket.connect, Dialler()

    def abort_first(line: socket.socket, place: tuple[str, int]) -> None:
        dialler.abort()
        connect(line, place)

    monkeypatch.setattr(socket.socket, "connect", abort_first)
    with pytest.raises(ConnectionAbortedError):
        dialler.http("127.0.0.1", port_of(listener), timeout=PATIENCE).connect()
    dialler.close()


def test_the_next_address_is_tried(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a name with an address of IPv6 first, at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        closed = gone.getsockname()
    places = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", one) for one in (closed, listener.getsockname())]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
    dialler = Dialler()
    connection = dialler.http("two.example", timeout=PATIENCE)
    connection.connect()
    assert connection.sock.getpeername() == listener.getsockname()
    connection.close()
    dialler.close()


def wait_until_connecting(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_connecting(port):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_connecting(port: int) -> bool:
    """The kernel's state 02 is SYN_SENT."""
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()]
    return any(row[2].endswith(f":{port:04X}") and row[3] == "02" for row in rows)
