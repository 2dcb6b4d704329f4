"""HTTP connections that any thread can end, whatever they wait for, to where a host is reached from here."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from http.client import HTTPConnection, HTTPSConnection
from threading import Lock
from typing import Any, TypeVar

C = TypeVar("C", bound=HTTPConnection)


class Dialler:
    """The connections of one exchange, http.client's with the same options, of which `timeout` must be given.

    Any thread may `abort` them; `close` when the exchange has ended.
    """

    def __init__(self, host_address: str = "") -> None:
        """`host_address`: inside a machine, where what listens on the loopback of the machine's host is reached."""
        self._host_address = host_address
        self._lock = Lock()
        #: Descriptors of our own: TLS takes a socket's away for itself, and urllib forgets it before the body is read.
        self._lines: list[socket.socket] = []
        self._is_aborted = False

    def http(self, host: str, port: int | None = None, **options: Any) -> HTTPConnection:
        return self._dialling(HTTPConnection(host, port, **options))

    def https(self, host: str, port: int | None = None, **options: Any) -> HTTPSConnection:
        return self._dialling(HTTPSConnection(host, port, **options))

    def abort(self) -> None:
        """What waits for a server ends, and nothing is connected any more."""
        with self._lock:
            self._is_aborted = True
            for line in self._lines:
                _shut_down(line)

    def close(self) -> None:
        with self._lock:
            for line in self._lines:
                line.close()
            self._lines.clear()

    def _dialling(self, connection: C) -> C:
        """Only the way to the server is ours: the Host header, TLS's name and a proxy's tunnel are what they were."""
        connection._create_connection = self._dial  # type: ignore[attr-defined]
        return connection

    def _dial(self, address: tuple[str, int], timeout: float | None, source_address: None) -> socket.socket:
        """As socket.create_connection, whose sockets are seen by nobody until they are connected."""
        host = dial_address(address[0], self._host_address)
        failures: list[OSError] = []
        for family, kind, protocol, _, place in _look_up(host, address[1]):
            try:
                return self._connect(socket.socket(family, kind, protocol), place, timeout)
            except OSError as error:
                failures.append(_in_go_s_words(error, place))
        raise failures[0]

    def _connect(self, line: socket.socket, place: Any, timeout: float | None) -> socket.socket:
        try:
            line.settimeout(timeout)
            self._register(line)
            line.connect(place)
            self._check()  # one that was shut down just before is connected all the same
            return line
        except BaseException:
            line.close()
            raise

    def _register(self, line: socket.socket) -> None:
        with self._lock:
            self._check()
            self._lines.append(line.dup())

    def _check(self) -> None:
        if self._is_aborted:
            raise ConnectionAbortedError("canceled")


def _look_up(host: str, port: int) -> list[Any]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise socket.gaierror(error.errno, f"dial tcp: lookup {host}: no such host") from error


def _in_go_s_words(error: OSError, place: tuple[str, int]) -> OSError:
    """Of the same class, which its number makes; a timeout has neither number nor words."""
    if error.errno is None or isinstance(error, ConnectionAbortedError):
        return error
    host = f"[{place[0]}]" if ":" in place[0] else place[0]
    return OSError(error.errno, f"dial tcp {host}:{place[1]}: connect: {os.strerror(error.errno).lower()}")


def dial_address(host: str, host_address: str) -> str:
    """Where to connect to for that host: its loopback is the user's, who isn't inside the machine."""
    return host_address if host_address and is_loopback(host) else host


def is_loopback(host: str) -> bool:
    """By its name or address only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shut_down(line: socket.socket) -> None:
    """Wake a thread that waits for it; closing the descriptor under it wouldn't."""
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
