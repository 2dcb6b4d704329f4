"""A registry's repository: manifests and blobs, by the OCI distribution protocol. Blocking; used from threads.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md, "Pull". Nothing that it says is believed:
documents are hashed here, blobs by the caller while they stream through.
"""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Collection, Generator, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any

from guest_agent.images.authorization import Authorization, parse_challenges
from guest_agent.images.manifests import ACCEPTED, MAX_DOCUMENT, Descriptor, parse_document
from guest_agent.images.reference import DEFAULT_DOMAIN, Reference
from guest_agent.images.transport import Payload, Response, Transport, origin_of, reason, unreachable
from guest_agent.store.content import digest_of
from guest_agent.wire.errors import HostvmError, NotFound, PeerMisbehaved, Unauthorized, Unavailable
from guest_agent.wire.models import Credentials, Digest

#: Docker Hub's registry isn't at the name that its references bear.
_HUB = "https://registry-1.docker.io"
_TEMPORARY = (408, 429, 500, 502, 503, 504)
_MAX_ERROR_BODY = 64 << 10
#: What a refusal without a body (of a HEAD) means, as registries word it.
_SILENT_REFUSALS = {
    401: "unauthorized: authentication required",
    403: "denied: requested access to the resource is denied",
}
#: Seconds that we wait where a registry limits its rate; Docker Hub's window of hours is an error at once.
_MAX_RETRY_AFTER = 60
#: Tags asked for at once: what docker's client takes.
_PAGE = 1000
_NEXT = re.compile(r"<[^>]*\?([^>]*)>;\s*rel=\"?next")


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest as it came; `digest` is computed."""

    data: bytes
    media_type: str
    digest: Digest


class Repository:
    """One repository at the first of its endpoints that answers. Thread-safe after the first manifest."""

    def __init__(
        self,
        transport: Transport,
        reference: Reference,
        credentials: Credentials | None,
        sources: Collection[str] | None = None,
    ) -> None:
        """To push, give the paths of the repositories that blobs may be mounted from; no mirror is asked then.

        `credentials` are the registry's: a mirror on another host gets none.
        """
        self._transport = transport
        self._reference = reference
        endpoints = plan_endpoints(transport, reference.domain)
        self._mirrors = plan_mirrors(transport, reference.domain) if sources is None else []
        self._bases = self._mirrors + endpoints
        actions = "pull" if sources is None else "pull,push"
        scopes = (f"repository:{reference.path}:{actions}", *(f"repository:{path}:pull" for path in sources or ()))
        self._pulls = sources is None
        self._authorizations = {
            origin_of(mirror): Authorization(transport, None, scopes) for mirror in self._mirrors
        } | dict.fromkeys(map(origin_of, endpoints), Authorization(transport, credentials, scopes))

    def through(self, transport: Transport) -> Repository:
        """The same, with what is known of it, by connections that can be ended on their own."""
        other = copy.copy(self)
        other._transport = transport
        return other

    def manifest(self, which: str) -> Document:
        """By tag or digest. Raises NotFound in docker's words, Unauthorized, Unavailable, PeerMisbehaved."""
        with self.request(f"manifests/{which}", {"Accept": ", ".join(ACCEPTED)}) as response:
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
        with self.request(f"blobs/{descriptor.digest}", headers) as response:
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

    def tags(self) -> tuple[str, ...]:
        """All of the repository's, in the registry's order."""
        found: list[str] = []
        path = f"tags/list?n={_PAGE}"
        while path:
            with self.request(path, {}) as response:
                data = response.body(MAX_DOCUMENT)
                following = _NEXT.search(response.headers.get("Link", ""))
            names = parse_document(data, "the list of tags").get("tags") or []
            found += [str(name) for name in names]
            path = f"tags/list?{following[1]}" if following and names else ""
        return tuple(found)

    def request(
        self, path: str, headers: Mapping[str, str], body: bytes | None = None, method: str = "GET"
    ) -> Response:
        """A successful answer (2xx), from the first endpoint that can give it; those before it are forgotten then.

        A mirror's refusal isn't final, and the next endpoint goes on where one has gone away; the registry's own is.
        `path` may be a whole URL that the registry named.
        """
        problem: HostvmError = Unavailable(f"no endpoint for {self._reference.domain}")
        bases = self._bases
        for place, base in enumerate(bases):
            url = path if "://" in path else f"{base}/v2/{self._reference.path}/{path}"
            try:
                response = self.exchange(url, headers, body, method)
            except (OSError, HTTPException) as error:
                problem = unreachable(f"{base}/v2/", error)
            except HostvmError as error:
                if base not in self._mirrors:
                    raise
                problem = error
            else:
                self._bases = bases[place:] if base in self._mirrors else [base]
                return response
        raise problem

    def exchange(self, url: str, headers: Mapping[str, str], body: Payload | None, method: str) -> Response:
        """One request; again where the registry asks for credentials, or for patience (429).

        Credentials go to the endpoint itself only: an upload's place may be another host.
        Raises what the transport raises, and a HostvmError for a refusal. A body of pieces is sent once only.
        """
        patience = self._transport.settings.retries
        while True:
            authorization = self._find_authorization(url)
            used = authorization.headers() if authorization else {}
            response = self._transport.request(url, {**headers, **used}, body, method)
            if 200 <= response.status < 300:
                return response
            challenges = parse_challenges(response.headers.get_all("WWW-Authenticate") or [])
            text = response.body(_MAX_ERROR_BODY)
            again = isinstance(body, bytes | None)
            authorization = self._find_authorization(response.url) if response.status == 401 else None
            if again and authorization and authorization.answer(challenges, used):
                continue
            if again and response.status == 429 and patience and self._wait_for_rate(response):
                patience -= 1
                continue
            if response.status == 401 and "basic" in challenges and not used:
                raise self._denied(False, "no basic auth credentials")
            raise self._refusal(url, response, text)

    def _find_authorization(self, url: str) -> Authorization | None:
        """None where the URL leads to somebody else than the endpoints that are in use."""
        origin = origin_of(url)
        return self._authorizations[origin] if origin in map(origin_of, self._bases) else None

    def _wait_for_rate(self, response: Response) -> bool:
        """Wait as long as a registry that limits its rate wants; False if it is longer than anybody waits."""
        asked = parse_retry_after(response.headers.get("Retry-After", ""), time.time())
        delay = self._transport.settings.retry_delay if asked is None else asked
        return delay <= _MAX_RETRY_AFTER and not self._transport.aborted.wait(delay)

    def _refusal(self, url: str, response: Response, body: bytes) -> HostvmError:
        code, text = _error_of(body)
        if _lacks_scope(response):
            code, text = "DENIED", _SILENT_REFUSALS[403]
        name, full = self._reference.familiar_name, self._reference.familiar
        status = response.status
        if code in ("DENIED", "UNAUTHORIZED") or status in (401, 403):
            is_missing = status == 404 or (code == "DENIED" and self._pulls)
            return self._denied(is_missing, text or _SILENT_REFUSALS.get(status, ""))
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

    def _denied(self, is_missing: bool, text: str) -> HostvmError:
        """Docker names the repository when it pulls, and gives the registry's own words when it pushes.

        A registry doesn't tell strangers apart what is denied and what isn't there; to docker neither is (404).
        """
        name = self._reference.familiar_name
        wording = f"pull access denied for {name}, repository does not exist or may require 'docker login': {text}"
        message = wording if self._pulls else text
        return NotFound(message) if is_missing else Unauthorized(message)


def parse_retry_after(text: str, now: float) -> float | None:
    """The header's number of seconds, or its date, in seconds from `now`; None where it says nothing (RFC 9110)."""
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except ValueError:
        return None


def plan_mirrors(transport: Transport, domain: str) -> list[str]:
    """Base URLs that the configuration wants to be asked first."""
    return [mirror.rstrip("/") for mirror in transport.settings.mirrors.get(domain, ())]


def plan_endpoints(transport: Transport, domain: str) -> list[str]:
    """Base URLs of the registry itself: TLS first, then plain HTTP where that is allowed."""
    if domain == DEFAULT_DOMAIN:
        return [_HUB]
    plain = [f"http://{domain}"] if transport.allows_plain_http(domain) else []
    return [f"https://{domain}", *plain]


def _lacks_scope(response: Response) -> bool:
    """Docker Hub's way to say no (RFC 6750, 3.1), where the body says that nobody has logged in."""
    challenges = parse_challenges(response.headers.get_all("WWW-Authenticate") or [])
    return challenges.get("bearer", {}).get("error") == "insufficient_scope"


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
