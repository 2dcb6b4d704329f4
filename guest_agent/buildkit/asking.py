"""What a build asks of a client by its session, in the step that needs it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from guest_agent.buildkit.agents import forwarded
from guest_agent.buildkit.sessions import ClientSession
from guest_agent.engine.build_client import BuildClient
from guest_agent.wire.models import Credentials


class SessionClient(BuildClient):
    def __init__(self, session: ClientSession) -> None:
        super().__init__({})
        self._session = session

    async def credentials_of(self, registry: str) -> Credentials | None:
        return await self._session.credentials_of(registry)

    async def secret(self, name: str) -> bytes | None:
        return await self._session.secret(name)

    def agent(self, name: str, folder: str) -> AbstractAsyncContextManager[str]:
        return forwarded(self._session, name, folder)
