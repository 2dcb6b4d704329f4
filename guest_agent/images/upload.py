"""Blobs to a registry's repository: is it there, can it be mounted, else sent. Blocking; used from threads.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md, "Push". A broken transfer goes on where the
registry says that it stopped, which needs a source that gives the same bytes again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urljoin

from guest_agent.images.registry import Repository
from guest_agent.images.transport import Response, Transport, reason
from guest_agent.wire.errors import HostvmError, NotFound, PeerMisbehaved, Unavailable
from guest_agent.wire.models import Digest

#: Gives the blob's bytes, the same at every call.
Source = Callable[[], Iterator[bytes]]
_BINARY = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class Sent:
    """A blob as the registry has it."""

    digest: Digest
    size: int


class Uploads:
    """Blobs to one repository. Thread-safe after the first request that succeeded."""

    def __init__(self, repository: Repository, transport: Transport) -> None:
        self._repository = repository
        self._transport = transport

    def find_size(self, digest: Digest) -> int | None:
        """The size of a blob that is there already."""
        try:
            with self._repository.request(f"blobs/{digest}", {}, method="HEAD") as response:
                return int(response.headers.get("Content-Length") or 0)
        except (NotFound, PeerMisbehaved):  # what a HEAD says has no body that would explain it
            return None

    def mount(self, digest: Digest, source: str) -> bool:
        """Take a blob over from another repository of the same registry."""
        try:
            with self._repository.request(f"blobs/uploads/?mount={digest}&from={source}", {}, b"", "POST") as response:
                mounted = response.status == 201
                location = self._location(response)
        except HostvmError:
            return False  # it can be sent
        if not mounted:
            self._cancel(location)
        return mounted

    def send_small(self, data: bytes, digest: Digest) -> None:
        """In one piece: a configuration."""
        self._finish(self._begin(), digest, data)

    def send(self, source: Source, on_sent: Callable[[int], None]) -> Sent:
        """All of a blob whose digest is known at its end only; `on_sent` is told how far it is.

        Raises Unavailable or PeerMisbehaved when repetitions bring nothing new.
        """
        location, offset, failures = self._begin(), 0, 0
        settings = self._transport.settings
        while True:
            sending = _Sending(source, offset, on_sent)
            try:
                headers = {**_BINARY, **({"Content-Range": f"{offset}-"} if offset else {})}
                with self._repository.exchange(location, headers, iter(sending), "PATCH") as response:
                    location = self._location(response)
                    response.body(1 << 16)
                break
            except (OSError, HTTPException, Unavailable) as error:
                failures += 1
                if failures > settings.retries or self._transport.aborted.is_set():
                    text = error.message if isinstance(error, HostvmError) else reason(error)
                    raise PeerMisbehaved(f"failed to upload a layer: {text} after {sending.passed} bytes") from error
            self._transport.aborted.wait(settings.retry_delay * 2**failures / 2)
            location, offset = self._resume(location)
        self._finish(location, sending.digest, b"")
        return Sent(sending.digest, sending.passed)

    def _begin(self) -> str:
        with self._repository.request("blobs/uploads/", {}, b"", "POST") as response:
            return self._location(response)

    def _location(self, response: Response) -> str:
        """Where the upload goes on. Raises PeerMisbehaved for a place that it isn't safe to send to."""
        target = urljoin(response.url, response.headers.get("Location") or response.url)
        self._transport.check_target(response.url, target)
        return target

    def _resume(self, location: str) -> tuple[str, int]:
        """Where the upload goes on; a new one from the start if the registry has forgotten it."""
        try:
            with self._repository.request(location, {}) as response:
                end = response.headers.get("Range", "").rpartition("-")[2]
                offset = int(end) + 1 if end.isdigit() and end != "0" else 0
                if response.status == 204 and offset:
                    return self._location(response), offset
        except HostvmError:
            pass
        return self._begin(), 0

    def _finish(self, location: str, digest: Digest, data: bytes) -> None:
        url = f"{location}{'&' if '?' in location else '?'}digest={digest}"
        with self._repository.request(url, _BINARY, data, "PUT") as response:
            response.body(1 << 16)

    def _cancel(self, location: str) -> None:
        try:
            self._repository.request(location, {}, method="DELETE").close()
        except HostvmError:
            pass  # the registry forgets it by and by


class _Sending:
    """The bytes of a source from an offset on, hashed from the start."""

    def __init__(self, source: Source, offset: int, on_sent: Callable[[int], None]) -> None:
        self._source = source
        self._offset = offset
        self._on_sent = on_sent
        self._hash = hashlib.sha256()
        self.passed = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._source():
            self._hash.update(piece)
            wanted = piece[max(0, self._offset - self.passed) :]
            self.passed += len(piece)
            if wanted:
                yield wanted
                self._on_sent(self.passed)

    @property
    def digest(self) -> Digest:
        return Digest(f"sha256:{self._hash.hexdigest()}")
