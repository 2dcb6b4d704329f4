"""Waiting for what becomes of a container."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from guest_agent.engine.container import Container, Status
from guest_agent.engine.live import Live
from guest_agent.engine.requests import WaitResult
from guest_agent.wire.errors import InvalidArgument


def waiter(container: Container, live: Live, condition: str) -> Awaitable[WaitResult]:
    """Registered at once: what ends between this call and the await isn't missed. Raises InvalidArgument."""
    if condition not in ("", "not-running", "next-exit", "removed"):
        raise InvalidArgument(f'invalid condition: "{condition}"')
    alive = container.running or container.state.status is Status.RESTARTING
    if condition in ("", "not-running") and not alive:
        return _result(container.state.exit_code)
    return _wait(live.run.exited, live if condition == "removed" else None, container)


async def _result(code: int) -> WaitResult:
    return WaitResult(code)


async def _wait(exited: asyncio.Future[int], removal: Live | None, container: Container) -> WaitResult:
    code = container.state.exit_code
    if removal is None or container.running or container.state.status is Status.CREATED:
        code = await asyncio.shield(exited)
    if removal is not None:
        await removal.removed.wait()
    return WaitResult(code)
