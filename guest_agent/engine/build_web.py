"""Files and contexts from the web: ADD URL, and a build's `remote`. Blocks; to be called from a thread."""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import re
import socket
import stat
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Event, Lock
from typing import Any
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, Request, build_opener

from guest_agent.build.trees import ContextTree, Entry, TreeReader, empty_tree
from guest_agent.images.transport import dial_address
from guest_agent.wire.errors import HostFailed, InvalidArgument, PeerMisbehaved, Unavailable

_TIMEOUT = 60.0
_PIECE = 256 << 10
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")


def is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


class Download:
    """One file from the web. Any thread may `abort` it: what waits for the server ends then.

    Raises InvalidArgument, Unavailable, PeerMisbehaved, HostFailed; nothing stays open then.
    """

    def __init__(self, url: str, folder: str, checksum: str = "", host_address: str = "") -> None:
        """`folder` is where the unlinked file for the content is made.

        `host_address`: inside a machine, where what listens on the loopback of the machine's host is reached.
        """
        self._url = url
        self._folder = folder
        self._checksum = checksum
        self._lines = _Lines(host_address)

    def abort(self) -> None:
        self._lines.cut()

    def file(self) -> tuple[ContextTree, str]:
        """A tree of one, and the file's name."""
        if self._checksum and not _CHECKSUM.fullmatch(self._checksum):
            raise InvalidArgument(f"invalid checksum digest format: {self._checksum}")
        name = posixpath.basename(unquote(urlsplit(self._url).path))
        if not name:
            raise InvalidArgument(f"cannot determine filename from url: {self._url}")
        content = os.open(self._folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            size, digest, mtime_ns = self._receive(content)
            if self._checksum and f"sha256:{digest.hex()}" != self._checksum:
                raise PeerMisbehaved(
                    f"digest mismatch sha256:{digest.hex()}: {self._checksum}",
                    f"{self._url} isn't what was expected",
                )
        except BaseException:
            os.close(content)
            raise
        entry = Entry(stat.S_IFREG | 0o600, size=size, mtime_ns=mtime_ns, digest=digest)
        return ContextTree({"": Entry(stat.S_IFDIR | 0o755), name: entry}, content), name

    def context(self) -> tuple[ContextTree, str]:
        """The context that the URL means, and the Dockerfile's text where the URL is a Dockerfile."""
        if not is_url(self._url):
            raise InvalidArgument(f"unable to prepare context: {self._url} is no URL")
        tree, name = self.file()
        entry = tree.find(name)
        assert entry is not None
        head = next(tree.pieces(entry, _PIECE), b"")
        reader = TreeReader(self._folder)
        try:
            for piece in tree.pieces(entry, _PIECE):
                reader.feed(piece)
            return reader.finish(), ""
        except InvalidArgument:
            if b"\0" in head:
                raise
            return empty_tree(), tree.read(name, 1 << 20).decode(errors="replace")
        finally:
            reader.close()
            tree.close()

    def _receive(self, target: int) -> tuple[int, bytes, int]:
        """Size, sha256 and time."""
        total, size = hashlib.sha256(), 0
        request = Request(self._url, headers={"User-Agent": "hostvm"})
        try:
            with self._lines.opener().open(request, timeout=_TIMEOUT) as answer:
                expected = answer.headers.get("Content-Length", "")
                while data := answer.read(_PIECE):
                    total.update(data)
                    size += len(data)
                    os.write(target, data)
                modified = answer.headers.get("Last-Modified", "")
        except (URLError, HTTPException, TimeoutError, ValueError) as error:
            raise Unavailable(f"{self._url}: {error}") from error
        except OSError as error:
            raise HostFailed(f"{self._url}: {(error.strerror or str(error)).lower()}") from error
        if expected.isdecimal() and int(expected) != size:
            raise PeerMisbehaved(f"{self._url}: unexpected EOF")
        return size, total.digest(), _time_of(modified)


class _Lines:
    """The sockets of one download, one for each redirect: urllib itself doesn't show them."""

    def __init__(self, host_address: str) -> None:
        self._host_address = host_address
        self._lock = Lock()
        self._sockets: list[socket.socket] = []
        self._is_cut = Event()

    def opener(self) -> Any:
        return build_opener(_Http(self.add, self._host_address), _Https(self.add))

    def add(self, line: socket.socket) -> None:
        with self._lock:
            self._sockets.append(line)
            if self._is_cut.is_set():
                _shut_down(line)

    def cut(self) -> None:
        with self._lock:
            self._is_cut.set()
            for line in self._sockets:
                _shut_down(line)


def _shut_down(line: socket.socket) -> None:
    """Who reads from it gets an end, which closing it wouldn't do."""
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


_OnSocket = Callable[[socket.socket], None]


class _Http(HTTPHandler):
    def __init__(self, on_socket: _OnSocket, host_address: str) -> None:
        super().__init__()
        self._on_socket = on_socket
        self._host_address = host_address

    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(self._connect, request)

    def _connect(self, host: str, /, **options: Any) -> HTTPConnection:
        """urllib has put the host's own name into the request's headers."""
        connection = HTTPConnection(host, **options)
        connection.host = dial_address(connection.host, self._host_address)
        return _announcing(connection, self._on_socket)


class _Https(HTTPSHandler):
    def __init__(self, on_socket: _OnSocket) -> None:
        super().__init__()
        self._on_socket = on_socket

    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(self._connect, request)

    def _connect(self, host: str, /, **options: Any) -> HTTPConnection:
        return _announcing(HTTPSConnection(host, **options), self._on_socket)


def _announcing(connection: HTTPConnection, on_socket: _OnSocket) -> HTTPConnection:
    """The same, which tells of its socket as soon as there is one."""
    connect = connection.connect

    def connect_and_tell() -> None:
        connect()
        on_socket(connection.sock)

    connection.connect = connect_and_tell  # type: ignore[method-assign]
    return connection


def _time_of(text: str) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 10**9
    except (TypeError, ValueError):
        return 0
