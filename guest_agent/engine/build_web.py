"""Files and contexts from the web: ADD URL, and a build's `remote`. Blocks; to be called from a thread."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from guest_agent.build.trees import ContextTree, Entry, TreeReader
from guest_agent.wire.errors import HostFailed, InvalidArgument, PeerMisbehaved, Unavailable

_TIMEOUT = 60.0
_PIECE = 256 << 10
_GIT = re.compile(r"(?:git://|git@|github\.com/).+|https?://.+\.git(?:#.*)?", re.DOTALL)
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")
#: What may be told apart from a tar by its type alone.
_TEXT = ("text/plain", "text/x-dockerfile")


def is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def is_git(text: str) -> bool:
    """As docker's urlutil.IsGitURL."""
    return _GIT.fullmatch(text) is not None


def fetch(url: str, checksum: str, folder: str) -> tuple[ContextTree, str]:
    """The file as a tree of one, and its name. Raises InvalidArgument, Unavailable, PeerMisbehaved, HostFailed."""
    if checksum and not _CHECKSUM.fullmatch(checksum):
        raise InvalidArgument(f"invalid checksum digest format: {checksum}")
    name = posixpath.basename(unquote(urlsplit(url).path))
    if not name:
        raise InvalidArgument(f"cannot determine filename from url: {url}")
    content = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        size, digest, mtime_ns = _download(url, content)
        if checksum and f"sha256:{digest.hex()}" != checksum:
            raise PeerMisbehaved(f"digest mismatch sha256:{digest.hex()}: {checksum}", f"{url} isn't what was expected")
    except BaseException:
        os.close(content)
        raise
    entry = Entry(stat.S_IFREG | 0o600, size=size, mtime_ns=mtime_ns, digest=digest)
    return ContextTree({"": Entry(stat.S_IFDIR | 0o755), name: entry}, content), name


def _download(url: str, target: int) -> tuple[int, bytes, int]:
    """Size, sha256 and time."""
    total, size = hashlib.sha256(), 0
    try:
        with urlopen(Request(url, headers={"User-Agent": "hostvm"}), timeout=_TIMEOUT) as answer:
            expected = answer.headers.get("Content-Length", "")
            while data := answer.read(_PIECE):
                total.update(data)
                size += len(data)
                os.write(target, data)
            modified = answer.headers.get("Last-Modified", "")
    except (URLError, HTTPException, TimeoutError, ValueError) as error:
        raise Unavailable(f"{url}: {error}") from error
    except OSError as error:
        raise HostFailed(f"{url}: {(error.strerror or str(error)).lower()}") from error
    if expected.isdecimal() and int(expected) != size:
        raise PeerMisbehaved(f"{url}: unexpected EOF")
    return size, total.digest(), _time_of(modified)


def _time_of(text: str) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 10**9
    except (TypeError, ValueError):
        return 0


def fetch_context(remote: str, folder: str) -> tuple[ContextTree, str]:
    """The context that a URL means, and the Dockerfile's text where the URL is a Dockerfile."""
    if not is_url(remote):
        raise InvalidArgument(f"unable to prepare context: {remote} is no URL")
    tree, name = fetch(remote, "", folder)
    entry = tree.find(name)
    assert entry is not None
    head = next(tree.pieces(entry, _PIECE), b"")
    reader = TreeReader(folder)
    try:
        for piece in tree.pieces(entry, _PIECE):
            reader.feed(piece)
        return reader.finish(), ""
    except InvalidArgument:
        if b"\0" in head:
            raise
        return ContextTree({"": Entry(stat.S_IFDIR | 0o755)}, -1), tree.read(name, 1 << 20).decode(errors="replace")
    finally:
        reader.close()
        tree.close()
