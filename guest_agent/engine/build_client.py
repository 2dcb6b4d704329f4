"""What a build needs of its client beside files: sent along with the request, or asked for when a step needs it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext

from guest_agent.wire.models import Credentials

_HUB = ("https://index.docker.io/v1/", "docker.io", "index.docker.io")


class BuildClient:
    """One that can't be asked: it has sent what there is. Who can ask overrides."""

    def __init__(self, credentials: Mapping[str, Credentials]) -> None:
        """Those of the X-Registry-Config header, whose registries clients write in several ways."""
        self._credentials = credentials

    async def credentials_of(self, registry: str) -> Credentials | None:
        """By a registry's host, as references have it: "docker.io" for the hub. None where there are none."""
        names = _HUB if registry in _HUB else (registry, f"https://{registry}", f"https://{registry}/v1/")
        return next((self._credentials[name] for name in names if name in self._credentials), None)

    async def secret(self, _name: str) -> bytes | None:
        """One that wasn't sent; None where there is none."""
        return None

    def agent(self, _name: str, _folder: str) -> AbstractAsyncContextManager[str]:
        """For the time of the block a socket in the folder, which leads to the ssh agent; "" where there is none."""
        return nullcontext("")
