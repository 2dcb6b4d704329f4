"""What is needed of the engine's own builder. It imports nothing of the protocol, which is loaded when it is spoken."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractContextManager
from typing import Protocol

from guest_agent.engine.build_credentials import CredentialsOf
from guest_agent.engine.build_requests import BuildRequest
from guest_agent.engine.build_results import BuildResult
from guest_agent.engine.build_watching import BuildWatcher
from guest_agent.wire.cache_records import CacheRecord, PruneRequest


class Builds(Protocol):
    def build(
        self,
        request: BuildRequest,
        chunks: AsyncIterator[bytes],
        watcher: BuildWatcher | None = None,
        credentials_of: CredentialsOf | None = None,
        result: BuildResult | None = None,
    ) -> AsyncGenerator[dict[str, object], None]: ...
    async def list_cache(self) -> tuple[CacheRecord, ...]: ...
    async def prune(self, request: PruneRequest) -> tuple[tuple[CacheRecord, ...], int]: ...
    def open_result(self) -> BuildResult: ...
    def private_folder(self) -> AbstractContextManager[str]: ...
