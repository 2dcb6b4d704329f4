"""What a registry is asked without pulling or pushing: manifests, tags, whether credentials are right, the index.

Everything here blocks but `list_tags` and `download`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode

from guest_agent.images.authorization import Authorization, parse_challenges
from guest_agent.images.configs import parse_config
from guest_agent.images.manifests import Index, Manifest, parse_document, parse_manifest
from guest_agent.images.platforms import Platform, make_platform
from guest_agent.images.reference import DEFAULT_DOMAIN, parse_reference
from guest_agent.images.registry import Repository, plan_endpoints
from guest_agent.images.transport import RegistrySettings, Transport, unreachable
from guest_agent.store.pieces import without_blocking
from guest_agent.wire.errors import HostvmError, InvalidArgument, Unauthorized, Unavailable
from guest_agent.wire.models import Credentials, Distribution, PlatformName

#: docker's registry/search.go: the range of `limit`, and what 0 means.
_MOST_FOUND = 100
_USUALLY_FOUND = 25
_MAX_ANSWER = 4 << 20
_MAX_CHALLENGE = 64 << 10
_INDEX = "https://index.docker.io"

#: An index's results, as it gives them.
Found = tuple[dict[str, Any], ...]


def describe(name: str, settings: RegistrySettings, credentials: Credentials | None) -> Distribution:
    """`docker manifest`'s and compose's look before a pull. Raises NotFound, Unauthorized, Unavailable."""
    reference = parse_reference(name).with_default_tag()
    repository = Repository(Transport(settings), reference, credentials)
    document = repository.manifest(reference.digest or reference.tag)
    parsed = parse_manifest(document.data, document.media_type)
    if isinstance(parsed, Index):
        platforms = tuple(_named(entry.platform) for entry in parsed.manifests if entry.platform)
    else:
        platforms = (_platform_of(repository, parsed),)
    return Distribution(document.media_type, document.digest, len(document.data), platforms)


def _platform_of(repository: Repository, manifest: Manifest) -> PlatformName:
    config = parse_config(repository.document(manifest.config))
    return _named(make_platform(config.os, config.architecture, config.variant))


def _named(platform: Platform) -> PlatformName:
    return platform.os, platform.architecture, platform.variant


async def list_tags(name: str, settings: RegistrySettings, credentials: Credentials | None) -> tuple[str, ...]:
    """A repository's tags. Raises NotFound, Unauthorized, Unavailable."""
    reference = parse_reference(name)
    if reference.tag or reference.digest:
        raise InvalidArgument("tag can't be used with --all-tags/-a")
    return await asyncio.to_thread(Repository(Transport(settings), reference, credentials).tags)


def log_in(server: str, settings: RegistrySettings, credentials: Credentials) -> str:
    """Try credentials; the identity token to keep in the password's place, "" where the registry gives none.

    Raises Unauthorized, Unavailable.
    """
    transport = Transport(settings)
    domain = _domain(server)
    problem: HostvmError = Unavailable(f"no endpoint for {domain}")
    for base in plan_endpoints(transport, domain):
        url = f"{base}/v2/"
        try:
            return _try_credentials(transport, url, credentials)
        except (OSError, HTTPException) as error:
            problem = unreachable(url, error)
    raise problem


def _domain(server: str) -> str:
    host = (server.partition("://")[2] or server).partition("/")[0]
    return DEFAULT_DOMAIN if host in ("", "docker.io", "index.docker.io", "registry-1.docker.io") else host


def _try_credentials(transport: Transport, url: str, credentials: Credentials) -> str:
    authorization = Authorization(transport, credentials, (), offline=True)
    status = 0
    for _ in range(2):
        used = authorization.headers()
        with transport.request(url, used) as response:
            status = response.status
            challenges = parse_challenges(response.headers.get_all("WWW-Authenticate") or [])
            response.body(_MAX_CHALLENGE)
        if status == 200:
            return authorization.identity_token
        if status != 401 or not authorization.answer(challenges, used):
            break
    words = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}.get(status, "")
    raise Unauthorized(f"login attempt to {url} failed with status: {status} {words}".rstrip())


def search_index(term: str, limit: int, settings: RegistrySettings) -> Found:
    """By the index's first protocol, the only one that searches. Raises InvalidArgument, Unavailable."""
    if not 0 <= limit <= _MOST_FOUND:
        raise InvalidArgument(f"limit {limit} is outside the range of [1, {_MOST_FOUND}]")
    transport = Transport(settings)
    base, words = _index_of(transport, term)
    url = f"{base}/v1/search?{urlencode({'q': words, 'n': limit or _USUALLY_FOUND})}"
    try:
        response = transport.request(url, {"X-Docker-Token": "true"})
    except (OSError, HTTPException) as error:
        raise unreachable(url, error) from error
    data = response.body(_MAX_ANSWER)
    if response.status != 200:
        raise Unavailable(f"Unexpected status code {response.status}")
    results = parse_document(data, "the index's answer").get("results")
    return tuple(item for item in results if isinstance(item, dict)) if isinstance(results, list) else ()


def _index_of(transport: Transport, term: str) -> tuple[str, str]:
    """`registry.example.org/words` is searched there; Docker's own names without their `library/`."""
    if "://" in term:
        raise InvalidArgument(f"invalid repository name: repository name ({term}) should not have a scheme")
    first, slash, rest = term.partition("/")
    if (
        slash
        and ("." in first or ":" in first or first == "localhost")
        and first not in ("docker.io", "index.docker.io")
    ):
        return plan_endpoints(transport, first)[-1], rest
    words = rest if first in ("docker.io", "index.docker.io") else term
    return _INDEX, words.removeprefix("library/")


def download(url: str, settings: RegistrySettings) -> AsyncGenerator[bytes, None]:
    """What a web server has, piece by piece. Raises Unavailable, InvalidArgument (another scheme than HTTP's)."""
    transport = Transport(settings)
    return without_blocking(_pieces_of(url, transport), transport.abort)


def _pieces_of(url: str, transport: Transport) -> Generator[bytes, None, None]:
    if not url.startswith(("http://", "https://")):
        raise InvalidArgument(f"unsupported protocol scheme: {url}")
    try:
        with transport.request(url, {}) as response:
            if response.status != 200:
                raise Unavailable(f"Got HTTP status code >= 400: {response.status}")
            yield from response.chunks()
    except (OSError, HTTPException) as error:
        raise unreachable(url, error) from error
