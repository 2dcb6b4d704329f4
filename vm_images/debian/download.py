"""Files from a mirror into a cache that is addressed by content: what is in it was verified.

A file appears under its SHA-256 only when every byte came and the sum was right; half a download has another name.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from guest_agent.wire.errors import HostFailed, HostvmError, NotFound, PeerMisbehaved, Unavailable

_WORKERS = 8  #: latency is what costs: the median .deb of a base image has 150 KB
_ATTEMPTS = 3
_TIMEOUT = 30.0  #: seconds without a byte
_CHUNK = 1 << 18
_TRANSIENT = (500, 502, 503, 504, 429)


class Progress(Protocol):
    """Where a build says what it does. `advance` is called from several threads."""

    def note(self, text: str) -> None: ...
    def begin(self, title: str, total: int) -> None: ...
    def advance(self, count: int) -> None: ...
    def finish(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Download:
    """A file to have: `size` in bytes. `what` is how errors call it."""

    url: str
    sha256: str
    size: int
    what: str


class Fetcher:
    """Downloads by several connections at once. `cache` is a folder of our own; it is made on first use."""

    def __init__(
        self, cache: str, progress: Progress, proxies: Mapping[str, str] | None = None, pause: float = 0.3
    ) -> None:
        self.cache = cache
        self._pause = pause
        self._progress = progress
        handler = urllib.request.ProxyHandler(_merge_proxies(proxies or {}))
        self._opener = urllib.request.build_opener(handler)
        self._opener.addheaders = [("User-Agent", "hostvm")]

    @property
    def store(self) -> str:
        """The folder of verified files, each named by its SHA-256."""
        return os.path.join(self.cache, "sha256")

    def path(self, sha256: str) -> str:
        return os.path.join(self.store, sha256)

    def get(self, url: str) -> bytes:
        """A small file that the caller verifies. Raises NotFound (404), Unavailable."""
        for last in _attempts(self._pause):
            try:
                with self._opener.open(url, timeout=_TIMEOUT) as response:
                    return bytes(response.read())
            except (OSError, http.client.HTTPException) as error:
                _raise_unless_transient(url, error, last)
        raise AssertionError("unreachable")

    def fetch(self, downloads: Iterable[Download], title: str) -> None:
        """Has all of them in the cache. Raises Unavailable, NotFound, PeerMisbehaved, HostFailed."""
        missing = [download for download in downloads if not self._have(download)]
        if not missing:
            return
        self._make_store()
        self._progress.begin(title, sum(download.size for download in missing))
        try:
            self._fetch_parallel(missing)
        finally:
            self._progress.finish()

    def _have(self, download: Download) -> bool:
        """Verified when it was stored; the size tells a file that a full disk or a crash has cut."""
        try:
            return os.stat(self.path(download.sha256)).st_size == download.size
        except FileNotFoundError:
            return False

    def _make_store(self) -> None:
        try:
            os.makedirs(self.store, exist_ok=True)
        except OSError as error:
            raise HostFailed(
                f"cannot make the cache {self.store}: {error.strerror}", "HOSTVM_CACHE names another"
            ) from error

    def _fetch_parallel(self, downloads: list[Download]) -> None:
        with ThreadPoolExecutor(_WORKERS) as pool:
            jobs = [pool.submit(self._fetch_one, download) for download in downloads]
            done, pending = wait(jobs, return_when=FIRST_EXCEPTION)
            for job in pending:
                job.cancel()
            for job in done:
                job.result()

    def _fetch_one(self, download: Download) -> None:
        for last in _attempts(self._pause):
            try:
                return self._transfer(download)
            except PeerMisbehaved:
                if last:
                    raise
            except (OSError, http.client.HTTPException) as error:
                _raise_unless_transient(download.url, error, last)
        return None

    def _transfer(self, download: Download) -> None:
        """Raises PeerMisbehaved for a wrong size or sum, OSError."""
        descriptor, part = tempfile.mkstemp(prefix="part-", dir=self.store)
        try:
            with os.fdopen(descriptor, "wb") as file:
                self._copy(download, file.write)
            os.chmod(part, 0o644)
            os.replace(part, self.path(download.sha256))
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(part)
            raise

    def _copy(self, download: Download, write: object) -> None:
        assert callable(write)
        digest, count = hashlib.sha256(), 0
        try:
            with self._opener.open(download.url, timeout=_TIMEOUT) as response:
                while chunk := response.read(_CHUNK):
                    digest.update(chunk)
                    count += len(chunk)
                    write(chunk)
                    self._progress.advance(len(chunk))
                    if count > download.size:
                        break
            _check(download, count, digest.hexdigest())
        except BaseException:
            self._progress.advance(-count)
            raise


def _check(download: Download, size: int, sha256: str) -> None:
    if size < download.size:
        raise PeerMisbehaved(
            f"{download.what} is truncated: {size} of {download.size} bytes came",
            "try again, or another mirror (HOSTVM_DEBIAN_MIRROR)",
        )
    if sha256 != download.sha256:
        raise PeerMisbehaved(
            f"{download.what} has the wrong checksum: sha256:{sha256[:12]}… where the signed index says "
            f"sha256:{download.sha256[:12]}…",
            "the mirror (or a proxy) serves something else than Debian does; name another: HOSTVM_DEBIAN_MIRROR",
        )


def _attempts(pause: float) -> Iterator[bool]:
    """One turn for each attempt, True for the last; waits `pause` seconds and then longer before all but the first."""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(pause * attempt)
        yield attempt == _ATTEMPTS - 1


def _merge_proxies(of_apt: Mapping[str, str]) -> dict[str, str]:
    """apt's own settings win over the environment's; "DIRECT" is apt's word for no proxy."""
    merged = {**urllib.request.getproxies(), **of_apt}
    return {scheme: url for scheme, url in merged.items() if url != "DIRECT"}


def _raise_unless_transient(url: str, error: OSError | http.client.HTTPException, last: bool) -> None:
    """The disk's errors have a file name; a 404 is final; all the rest may be better the next time."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        if error.code == 404 or last or error.code not in _TRANSIENT:
            raise _http_error(url, error.code) from error
    elif isinstance(error, urllib.error.URLError):
        if isinstance(error.reason, FileNotFoundError) or url.startswith("file:"):
            raise _http_error(url, 404) from error
        if last:
            raise _unreachable(url, error.reason) from error
    elif isinstance(error, OSError) and error.errno in (28, 122, 30, 13):  # ENOSPC, EDQUOT, EROFS, EACCES
        raise HostFailed(
            f"cannot write to the download cache: {error.strerror}", "HOSTVM_CACHE names another folder"
        ) from error
    elif last:
        raise _unreachable(url, error) from error


def _http_error(url: str, code: int) -> HostvmError:
    if code == 404:
        return NotFound(f"the mirror doesn't have {url}", "is HOSTVM_DEBIAN_MIRROR, or apt's mirror, one of Debian's?")
    return Unavailable(
        f"the mirror answered {code} to {url}", "try again later, or another mirror (HOSTVM_DEBIAN_MIRROR)"
    )


def _unreachable(url: str, reason: object) -> Unavailable:
    host = url.split("/")[2]
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return Unavailable(
        f"cannot reach the Debian mirror {host}: {text}",
        "check the network and its proxy, or name another mirror: HOSTVM_DEBIAN_MIRROR=http://…/debian",
    )
