"""Tasks that nobody waits for: kept alive, and a failure is logged with its traceback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class BackgroundTasks:
    """The engine's own tasks; `join` at shutdown leaves no orphan."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        """Run it; its failure ends nothing else. `name` says in the log what failed."""
        task = asyncio.get_running_loop().create_task(self._guard(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self, work: Coroutine[object, object, T], name: str) -> T:
        """Await it; it goes on to its end also where the caller is cancelled, because its client has vanished.

        What is half-made when a client goes must not be left to whoever cleans up: a runtime can't be called back.
        """
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.start(_deliver(work, result), name)
        return await asyncio.shield(result)

    async def _guard(self, work: Coroutine[object, object, None], name: str) -> None:
        try:
            await work
        except Exception:
            log.exception("background task failed: %s", name)

    async def join(self, timeout: float) -> None:
        """Wait for all of them; those that aren't done after `timeout` seconds are cancelled."""
        current = asyncio.current_task()
        tasks = {task for task in self._tasks if task is not current}
        if not tasks:
            return
        _done, late = await asyncio.wait(tasks, timeout=timeout)
        for task in late:
            log.warning("cancelled at shutdown: %s", task.get_name())
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def _deliver(work: Coroutine[object, object, T], result: asyncio.Future[T]) -> None:
    try:
        value = await work
    except Exception as error:  # whatever it is, it belongs to whoever awaits the result
        if not result.cancelled():
            result.set_exception(error)
            result.exception()  # nobody may be left to ask
    else:
        if not result.cancelled():
            result.set_result(value)
