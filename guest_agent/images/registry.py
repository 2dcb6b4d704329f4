"""A registry's repository: manifests and blobs, by the OCI distribution protocol. Blocking; used from threads.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md, "Pull". Nothing that it says is believed:
documents are hashed here, blobs by the caller while they stream through.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from guest_agent.images.authorization import Authorization, parse_challenges
from guest_agent.images.manifests import ACCEPTED, MAX_DOCUMENT, Descriptor
from guest_agent.images.reference import DEFAULT_DOMAIN, Reference
from guest_agent.images.transport import Response, Transport, reason, unreachable
from guest_agent.store.content import digest_of
from guest_agent.wire.errors import HostvmError, NotFound, PeerMisbehaved, Unauthorized, Unavailable
from guest_agent.wire.models import Credentials, Digest

#: Docker Hub's registry isn't at the name that its references bear.
_HUB = "https://registry-1.docker.io"
_TEMPORARY = (408, 429, 500, 502, 503, 504)
_MAX_ERROR_BODY = 64 << 10


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest as it came; `digest` is computed."""

    data: bytes
    media_type: str
    digest: Digest


class Repository:
    """One repository at the first of its endpoints that answers. Thread-safe after the first manifest."""

    def __init__(self, transport: Transport, reference: Reference, credentials: Credentials | None) -> None:
        self._transport = transport
        self._reference = reference
        self._mirrors = plan_mirrors(transport, reference.domain)
        self._bases = self._mirrors + plan_endpoints(transport, reference.domain)
        self._authorization = Authorization(transport, credentials, reference.path)

    def manifest(self, which: str) -> Document:
        """By tag or digest. Raises NotFound in docker's words, Unauthorized, Unavailable, PeerMisbehaved."""
        with self._get(f"manifests/{which}", {"Accept": ", ".join(ACCEPTED)}) as response:
            data = response.body(MAX_DOCUMENT)
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
            claimed = response.headers.get("Docker-Content-Digest", "")
        digest = digest_of(data)
        promised = which if ":" in which else claimed
        if promised.startswith("sha256:") and promised != digest:
            raise PeerMisbehaved(f"manifest verification failed for digest {promised}")
        return Document(data, media_type, digest)

    def document(self, descriptor: Descriptor) -> bytes:
        """A small blob, verified: the configuration."""
        if descriptor.size > MAX_DOCUMENT:
            raise PeerMisbehaved(f"configuration of {descriptor.size} bytes, at most {MAX_DOCUMENT} are allowed")
        data = b"".join(self.blob(descriptor))
        if digest_of(data) != descriptor.digest:
            raise PeerMisbehaved(f"image config verification failed for digest {descriptor.digest}")
        return data

    def blob(self, descriptor: Descriptor) -> Generator[bytes, None, None]:
        """Exactly `descriptor.size` bytes, not verified. A transfer that breaks is resumed where it broke.

        Raises PeerMisbehaved or Unavailable when repetitions bring nothing new.
        """
        settings = self._transport.settings
        offset = failures = 0
        while True:
            start = offset
            problem = "unexpected EOF"
            try:
                for chunk in self._blob_from(descriptor, offset):
                    offset += len(chunk)
                    yield chunk
            except (OSError, HTTPException, Unavailable) as error:
                problem = error.message if isinstance(error, HostvmError) else reason(error)
            if offset == descriptor.size:
                return
            failures = 0 if offset > start else failures + 1
            if failures > settings.retries or self._transport.aborted.is_set():
                raise PeerMisbehaved(
                    f"failed to download {descriptor.digest}: {problem} after {offset} of {descriptor.size} bytes"
                )
            self._transport.aborted.wait(settings.retry_delay * 2**failures / 2)

    def _blob_from(self, descriptor: Descriptor, offset: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self._get(f"blobs/{descriptor.digest}", headers) as response:
            skip = 0 if _resumes_at(response, offset) else offset
            left = descriptor.size - offset
            for chunk in response.chunks():
                piece = chunk[skip:]
                skip -= min(skip, len(chunk))
                if len(piece) > left:
                    raise _too_long(descriptor)
                left -= len(piece)
                if piece:
                    yield piece

    def _get(self, path: str, headers: dict[str, str]) -> Response:
        """An answer with status 200 or 206, from the first endpoint that can give it; the others are forgotten then.

        A mirror's refusal isn't final; the registry's own is.
        """
        problem: HostvmError = Unavailable(f"no endpoint for {self._reference.domain}")
        for base in self._bases:
            try:
                response = self._get_from(base, path, headers)
            except (OSError, HTTPException) as error:
                problem = unreachable(f"{base}/v2/", error)
            except HostvmError as error:
                if base not in self._mirrors:
                    raise
                problem = error
            else:
                self._bases = [base]
                return response
        raise problem

    def _get_from(self, base: str, path: str, headers: dict[str, str]) -> Response:
        url = f"{base}/v2/{self._reference.path}/{path}"
        while True:
            used = self._authorization.headers()
            response = self._transport.request(url, {**headers, **used})
            if response.status in (200, 206):
                return response
            challenges = parse_challenges(response.headers.get_all("WWW-Authenticate") or [])
            body = response.body(_MAX_ERROR_BODY)
            if response.status == 401 and self._authorization.answer(challenges, used):
                continue
            raise self._refusal(url, response, body)

    def _refusal(self, url: str, response: Response, body: bytes) -> HostvmError:
        code, text = _error_of(body)
        name, full = self._reference.familiar_name, self._reference.familiar
        status = response.status
        if code in ("DENIED", "UNAUTHORIZED") or status in (401, 403):
            text = text or "denied: requested access to the resource is denied"
            return _denied(status, name, text)
        if code == "NAME_UNKNOWN":
            return NotFound(f"repository {name} not found: {text}")
        if "/blobs/" in url and status == 404:
            return PeerMisbehaved(f'Get "{url}": {text or "blob unknown to registry"}')
        if status == 404:
            return NotFound(f"manifest for {full} not found: {text or 'manifest unknown: manifest unknown'}")
        if status == 416:  # asked for the rest of a blob that is shorter there than its manifest says
            return Unavailable("unexpected EOF")
        if status in _TEMPORARY:
            return Unavailable(text or f'Get "{url}": received unexpected HTTP status: {status}')
        return PeerMisbehaved(f'Get "{url}": received unexpected HTTP status: {status}')


def plan_mirrors(transport: Transport, domain: str) -> list[str]:
    """Base URLs that the configuration wants to be asked first."""
    return [mirror.rstrip("/") for mirror in transport.settings.mirrors.get(domain, ())]


def plan_endpoints(transport: Transport, domain: str) -> list[str]:
    """Base URLs of the registry itself: TLS first, then plain HTTP where that is allowed."""
    if domain == DEFAULT_DOMAIN:
        return [_HUB]
    plain = [f"http://{domain}"] if transport.allows_plain_http(domain) else []
    return [f"https://{domain}", *plain]


def _denied(status: int, name: str, text: str) -> HostvmError:
    message = f"pull access denied for {name}, repository does not exist or may require 'docker login': {text}"
    return NotFound(message) if status == 404 else Unauthorized(message)


def _error_of(body: bytes) -> tuple[str, str]:
    """(code, docker's text) of a registry's error answer; ("", "") where it is none."""
    try:
        first: Any = json.loads(body)["errors"][0]
        code, message = str(first["code"]), str(first.get("message") or "")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", ""
    text = f"{code.lower().replace('_', ' ')}: {message}"
    return code, "".join(letter for letter in text if letter.isprintable())[:300]


def _resumes_at(response: Response, offset: int) -> bool:
    """Does the body begin at `offset`? A server that ignores Range answers 200 and begins at 0."""
    if response.status != 206:
        return not offset
    if response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
        return True
    raise PeerMisbehaved(f'Get "{response.url}": the registry answered with another range than the one asked for')


def _too_long(descriptor: Descriptor) -> PeerMisbehaved:
    return PeerMisbehaved(
        f"filesystem layer verification failed for digest {descriptor.digest}: longer than {descriptor.size} bytes"
    )
