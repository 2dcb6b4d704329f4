"""Health checks, the doing: one sleeping task for each running container that has one.

They follow the container's own events: probes begin with `start` and `unpause`, and end with `die` and `pause`. A probe
is an exec like any other. An engine whose containers are all between two probes doesn't wake.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time

from guest_agent.engine.attachment import Attachment
from guest_agent.engine.container import Container, Health, ProbeResult
from guest_agent.engine.execs import Execs
from guest_agent.engine.health import (
    ProbeOutput,
    health_after,
    pause_before_probe,
    probe_argv,
    probe_timeout_ns,
    timeout_message,
)
from guest_agent.engine.parts import Parts
from guest_agent.engine.requests import ExecRequest
from guest_agent.wire.errors import HostvmError
from guest_agent.wire.models import ContainerId, Event

log = logging.getLogger(__name__)

_BEGIN, _END = ("start", "unpause"), ("die", "pause", "destroy")

#: Seconds that output may still come after a probe's command has ended: what it left behind may hold the pipe.
_OUTPUT_GRACE = 2.0
#: Seconds between two attempts to kill a probe that took too long: the runtime may not have started it yet.
_KILL_AGAIN = 1.0


class HealthMonitors:
    """All of them."""

    def __init__(self, parts: Parts, execs: Execs) -> None:
        self._parts = parts
        self._execs = execs
        self._tasks: dict[ContainerId, asyncio.Task[None]] = {}
        parts.events.listen(self._on_event)
        for container in parts.table.all():
            self._begin(container)

    def close(self) -> None:
        """No more probes; the containers go on."""
        for identity in list(self._tasks):
            self._end(identity)

    def _on_event(self, event: Event) -> None:
        if event.type != "container":
            return
        identity = ContainerId(event.actor_id)
        if event.action in _END:
            self._end(identity)
        elif event.action in _BEGIN and (container := self._parts.table.get(identity)) is not None:
            self._begin(container)

    def _begin(self, container: Container) -> None:
        if _probed(container):
            self._end(container.id)
            self._tasks[container.id] = self._parts.tasks.start(
                self._watch(container.id), f"health of {container.short_id}"
            )

    def _end(self, identity: ContainerId) -> None:
        task = self._tasks.pop(identity, None)
        if task is not None:
            task.cancel()

    async def _watch(self, identity: ContainerId) -> None:
        while (container := self._parts.table.get(identity)) is not None and _probed(container):
            await asyncio.sleep(pause_before_probe(container, time.time_ns()))
            self._record(identity, await self._probe(container))

    def _record(self, identity: ContainerId, result: ProbeResult) -> None:
        """A change of the status is stored; the log of probes alone isn't worth a write to the disk."""
        container = self._parts.table.get(identity)
        if container is None or container.state.health is None:
            return
        before, health = container.state.health, health_after(container, result)
        changed = _with_health(container, health)
        if health.status is before.status:
            self._parts.table.remember_only(changed)
            return
        self._store(changed)
        self._parts.tell(changed, f"health_status: {health.status}")

    def _store(self, changed: Container) -> None:
        """A full disk must not end the probing: the memory says the truth, the disk follows."""
        try:
            self._parts.table.save(changed, durable=False)
        except HostvmError as error:
            log.warning("the health of container %s can't be stored: %s", changed.short_id, error)
            self._parts.table.remember_only(changed)

    async def _probe(self, container: Container) -> ProbeResult:
        started = time.time_ns()
        request = ExecRequest(container.id, probe_argv(container.config), attach_stdout=True, attach_stderr=True)
        try:
            exec_id = self._execs.create(request)
            try:
                code, output = await self._run(exec_id, probe_timeout_ns(container.config.healthcheck))
            finally:
                self._execs.forget(exec_id)
        except (HostvmError, OSError) as error:
            code, output = -1, str(error)
        return ProbeResult(started, time.time_ns(), code, output)

    async def _run(self, exec_id: str, timeout_ns: int) -> tuple[int, str]:
        """The exit code and output of a probe; its time begins when the runtime has been called."""
        attachment = await self._execs.start(exec_id, detach=False, console_size=(0, 0))
        assert attachment is not None  # it isn't detached
        output = ProbeOutput()
        reading = asyncio.ensure_future(_collect(attachment, output))
        try:
            async with asyncio.timeout(timeout_ns / 1e9):
                code = await attachment.wait_exit()
            await asyncio.wait((reading,), timeout=_OUTPUT_GRACE)
            return code, output.text()
        except TimeoutError:
            await self._kill(exec_id, attachment)
            return -1, timeout_message(timeout_ns, output.text())
        finally:
            self._execs.kill(exec_id)
            reading.cancel()
            attachment.close()

    async def _kill(self, exec_id: str, attachment: Attachment) -> None:
        """Until it has ended: probes that don't die must not pile up."""
        while True:
            self._execs.kill(exec_id)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILL_AGAIN):
                    await attachment.wait_exit()
                    return


async def _collect(attachment: Attachment, output: ProbeOutput) -> None:
    while (piece := await attachment.read()) is not None:
        output.add(piece[1])


def _probed(container: Container) -> bool:
    """Runs, isn't paused, and has something to ask."""
    return container.state.status == "running" and bool(probe_argv(container.config))


def _with_health(container: Container, health: Health) -> Container:
    return dataclasses.replace(container, state=dataclasses.replace(container.state, health=health))
