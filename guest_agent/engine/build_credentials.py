"""What a build tells registries: sent along with the request, or asked for when an image is pulled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from guest_agent.wire.models import Credentials

#: By a registry's host, as references have it: "docker.io" for the hub. None where there are none.
CredentialsOf = Callable[[str], Awaitable[Credentials | None]]

_HUB = ("https://index.docker.io/v1/", "docker.io", "index.docker.io")


def among(known: Mapping[str, Credentials]) -> CredentialsOf:
    """Those of the X-Registry-Config header, whose registries clients write in several ways."""

    async def credentials_of(registry: str) -> Credentials | None:
        names = _HUB if registry in _HUB else (registry, f"https://{registry}", f"https://{registry}/v1/")
        return next((known[name] for name in names if name in known), None)

    return credentials_of
