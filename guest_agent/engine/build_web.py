"""Files and contexts from the web: ADD URL, and a build's `remote`. Blocks; to be called from a thread."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from guest_agent.build.trees import ContextTree, Entry, TreeReader, empty_tree
from guest_agent.images.dialling import Dialler
from guest_agent.images.transport import reason
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
        """`folder` is where the unlinked file for the content is made; for the `host_address` see `Dialler`."""
        self._url = url
        self._folder = folder
        self._checksum = checksum
        self._dialler = Dialler(host_address)

    def abort(self) -> None:
        self._dialler.abort()

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
            with _make_opener(self._dialler).open(request, timeout=_TIMEOUT) as answer:
                expected = answer.headers.get("Content-Length", "")
                while data := answer.read(_PIECE):
                    total.update(data)
                    size += len(data)
                    self._write(target, data)
                modified = answer.headers.get("Last-Modified", "")
        except (OSError, HTTPException, ValueError) as error:  # OSError: a line that broke, or urllib's own
            raise Unavailable(_words(self._url, error)) from error
        finally:
            self._dialler.close()
        if expected.isdecimal() and int(expected) != size:
            raise PeerMisbehaved(f"{self._url}: unexpected EOF")
        return size, total.digest(), _time_of(modified)

    def _write(self, target: int, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(target, rest) :]
        except OSError as error:
            raise HostFailed(f"{self._url}: {(error.strerror or str(error)).lower()}") from error


def _make_opener(dialler: Dialler) -> OpenerDirector:
    """urllib's usual one would follow a redirect to FTP, too."""
    opener = OpenerDirector()
    handlers = (
        ProxyHandler(),
        UnknownHandler(),
        HTTPDefaultErrorHandler(),
        HTTPRedirectHandler(),
        HTTPErrorProcessor(),
    )
    for handler in (*handlers, _Handler(dialler)):
        opener.add_handler(handler)
    return opener


class _Handler(HTTPHandler, HTTPSHandler):
    """In the place of urllib's own two, with connections of ours."""

    def __init__(self, dialler: Dialler) -> None:
        super().__init__()
        self._dialler = dialler

    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(self._dialler.http, request)

    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(self._dialler.https, request)


def _words(url: str, error: Exception) -> str:
    """urllib has the line's own error inside of one of its own."""
    if isinstance(error, HTTPError):
        return f"{url}: {error}"
    cause = error.reason if isinstance(error, URLError) else error
    return f'Get "{url}": {reason(cause)}' if isinstance(cause, OSError) else f"{url}: {cause}"


def _time_of(text: str) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 10**9
    except (TypeError, ValueError):
        return 0
