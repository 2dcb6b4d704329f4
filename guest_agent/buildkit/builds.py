"""What is needed of the engine's own builder. It imports nothing of the protocol, which is loaded when it is spoken."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

from guest_agent.engine.build_client import BuildClient
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
        client: BuildClient | None = None,
        result: BuildResult | None = None,
    ) -> AsyncGenerator[dict[str, object], None]: ...
    async def list_cache(self) -> tuple[CacheRecord, ...]: ...
    async def prune(self, request: PruneRequest) -> tuple[tuple[CacheRecord, ...], int]: ...
    def open_result(self) -> BuildResult: ...
