"""A thread's work that is in the middle while its caller is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

import pytest

P = ParamSpec("P")
T = TypeVar("T")


class Held:
    """Work that waits after it is done, until it may `go_on`."""

    def __init__(self) -> None:
        self.started, self.go_on = threading.Event(), threading.Event()

    def after(self, work: Callable[P, T]) -> Callable[P, T]:
        def held(*args: P.args, **kwargs: P.kwargs) -> T:
            result = work(*args, **kwargs)
            self.started.set()
            self.go_on.wait()
            return result

        return held

    async def cancel(self, caller: Awaitable[object]) -> None:
        """The caller, in the middle of the work; it goes on when the caller has been told."""
        task = asyncio.ensure_future(caller)
        await asyncio.to_thread(self.started.wait)
        task.cancel()
        for _ in range(3):  # roundtrips, in which a caller that doesn't wait gets on
            await asyncio.to_thread(lambda: None)
        ended_early = task.done()
        self.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not ended_early
