"""What can be done to containers, one method a verb. Each finds the container, checks the step, and does it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing, suppress

from guest_agent.engine import connections
from guest_agent.engine.attaching import attach_client
from guest_agent.engine.attachment import Attachment
from guest_agent.engine.commits import commit_container
from guest_agent.engine.container import Container, Status
from guest_agent.engine.ending import remove_folders, undo_create
from guest_agent.engine.health import health_without_probes
from guest_agent.engine.lifecycle import Step, next_status
from guest_agent.engine.lines import read_lines
from guest_agent.engine.links import follow_name, parse_link_name, without_link
from guest_agent.engine.live import Live
from guest_agent.engine.log_config import check_readable
from guest_agent.engine.making import make_container
from guest_agent.engine.mounting import mounted_rootfs
from guest_agent.engine.naming import check_name
from guest_agent.engine.parts import Parts
from guest_agent.engine.requests import (
    AttachRequest,
    CommitRequest,
    Created,
    CreateRequest,
    LogLines,
    LogRequest,
    Sizes,
    UpdateRequest,
    WaitResult,
)
from guest_agent.engine.supervision import start_and_watch
from guest_agent.engine.updating import apply_update, check_update, plan_update
from guest_agent.engine.volume_filling import fill_new_volumes
from guest_agent.engine.waiting import waiter
from guest_agent.linux.process import send_signal
from guest_agent.linux.signals import DEFAULT_STOP_SIGNAL, parse_signal
from guest_agent.runtime import cgroups
from guest_agent.store.files import tree_size
from guest_agent.wire.errors import Conflict, HostFailed, HostvmError, InvalidArgument, NotFound, NotModified
from guest_agent.wire.models import ContainerId, ImageId

#: Seconds between the stop signal and SIGKILL, as docker's.
_STOP_TIMEOUT = 10
_KILL_TIMEOUT = 30.0
_FREEZE_TIMEOUT = 5.0


class Containers:
    """The container verbs of the engine."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._table = parts.table

    # -- looking

    def find(self, ref: str) -> Container:
        """By id, unique prefix of one, or name. Raises NotFound."""
        return self._table.find(ref)

    def list(self, everything: bool) -> tuple[Container, ...]:
        """Newest first; without `everything` only those that have a process, or will again."""
        if everything:
            return self._table.all()
        return self._table.in_status(Status.RUNNING, Status.PAUSED, Status.RESTARTING)

    async def sizes(self, ref: str) -> Sizes:
        """Bytes on disk; walks what the container wrote."""
        container = self.find(ref)
        written = await asyncio.to_thread(_size_of, self._parts.paths.upper(container.id))
        return Sizes(written, written + self._parts.images.get(container.image_id).size)

    def top_pids(self, ref: str) -> tuple[int, ...]:
        """Every process of a running container, as the host numbers them."""
        container = self.find(ref)
        if container.state.status is Status.RESTARTING:
            raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
        if not container.running:
            raise Conflict(f"Container {container.id} is not running")
        self._parts.tell(container, "top")
        return cgroups.processes(self._parts.host.cgroups, container.group)

    # -- life

    async def create(self, request: CreateRequest) -> Created:
        """Raises NotFound (image), Conflict (name), InvalidArgument."""
        container, warnings = make_container(self._parts, request, provisional=False)
        try:
            await fill_new_volumes(self._parts, container)
        except BaseException:
            undo_create(self._parts, container)
            raise
        return Created(container.id, warnings)

    async def start(self, ref: str) -> None:
        """Raises NotModified where it runs, and whatever the start fails with."""
        identity = self.find(ref).id
        async with self._live(identity).lock:
            container = self.find(identity)
            next_status(container, Step.START)
            await start_and_watch(self._parts, _fresh(container))

    async def stop(self, ref: str, timeout: int | None = None, signal: str = "") -> None:
        """The stop signal, then SIGKILL after `timeout` seconds (-1 = never). NotModified where it doesn't run."""
        identity = self.find(ref).id
        async with self._live(identity).lock:
            await self._stop(identity, timeout, signal)

    async def _stop(self, identity: str, timeout: int | None, signal: str) -> None:
        container = self.find(identity)
        if container.state.status is Status.RESTARTING:
            self._end_restarting(container)
            self._parts.tell(container, "stop")
            return
        if not container.running:
            raise NotModified(f"Container {identity} is already stopped")
        number = parse_signal(signal or container.config.stop_signal or DEFAULT_STOP_SIGNAL)
        self._mark_stopped(container)
        self._kill(container, number)
        grace = _first_not_none(timeout, container.config.stop_timeout, _STOP_TIMEOUT)
        if not await self._has_ended(container, None if grace < 0 else float(grace)):
            self._kill(container, parse_signal("KILL"))
            if not await self._has_ended(container, _KILL_TIMEOUT):
                raise HostFailed(f"cannot stop container {identity}: its process doesn't end, even killed")
        self._parts.tell(container, "stop")

    async def stop_for_shutdown(self, identity: str) -> None:
        """As `stop`, but the user didn't ask for it: `always` and `unless-stopped` bring it back with the engine."""
        async with self._live(identity).lock:
            before = self.find(identity).state.stopped_by_user
            await self._stop(identity, None, "")
            ended = self._table.get(ContainerId(identity))
            if ended is not None and not before:
                self._table.save(_with_state(ended, stopped_by_user=False))

    async def restart(self, ref: str, timeout: int | None = None, signal: str = "") -> None:
        """Stop where it runs, then start; whoever asked may have gone by then."""
        await self._parts.tasks.finish(self._restart(self.find(ref).id, timeout, signal), "restart")

    async def _restart(self, identity: ContainerId, timeout: int | None, signal: str) -> None:
        live = self._live(identity)
        async with live.lock:
            if self.find(identity).running:
                with live.kept():
                    await self._stop(identity, timeout, signal)
            container = self.find(identity)
            next_status(container, Step.START)
            await start_and_watch(self._parts, _fresh(container))
            self._parts.tell(container, "restart")

    async def remove_link(self, ref: str) -> None:
        """`ref` is a link's name: NAME/ALIAS. Raises NotFound, and HostFailed for a container's own name."""
        parent, alias = parse_link_name(ref)
        identity = self.find(parent).id
        async with self._live(identity).lock:
            self._table.save(without_link(self.find(identity), alias))

    async def kill(self, ref: str, signal: str = "KILL") -> None:
        """Send a signal to the init. Raises Conflict where there is none."""
        try:
            container = self.find(ref)
        except NotFound as error:
            raise NotFound(f"Cannot kill container: {ref}: {error.message}") from None
        number = parse_signal(signal or "KILL")
        stopping = number in _stopping_signals(container)
        if container.state.status is Status.RESTARTING:
            if await self._is_between_starts(container.id, stopping):
                return
            container = self.find(container.id)
        if not container.running:
            raise Conflict(f"Cannot kill container: {ref}: Container {container.id} is not running")
        if stopping:
            self._mark_stopped(container)
        self._kill(container, number)
        if number == parse_signal("KILL"):
            await self._has_ended(container, _STOP_TIMEOUT)

    async def _is_between_starts(self, identity: ContainerId, stopping: bool) -> bool:
        """There is no process then; if it is `stopping`, none is started again. Waits for a start under way."""
        async with self._live(identity).lock:
            container = self.find(identity)
            if container.state.status is not Status.RESTARTING:
                return False
            if stopping:
                self._end_restarting(container)
            return True

    async def pause(self, ref: str) -> None:
        """Freeze every process."""
        await self._freeze(ref, Step.PAUSE)

    async def unpause(self, ref: str) -> None:
        """Let them go on."""
        await self._freeze(ref, Step.UNPAUSE)

    async def _freeze(self, ref: str, step: Step) -> None:
        identity = self.find(ref).id
        async with self._live(identity).lock:
            container = self.find(identity)
            status = next_status(container, step)
            group = container.group
            frozen = step is Step.PAUSE
            if not await asyncio.to_thread(
                cgroups.set_frozen, self._parts.host.cgroups, group, frozen, _FREEZE_TIMEOUT
            ):
                raise HostFailed(f"Cannot {step} container {identity}: its processes don't settle")
            current = self._table.get(container.id)
            if current is None or current.state.pid != container.state.pid:  # it ended while it was being frozen
                raise Conflict(f"Container {identity} is not running")
            health = health_without_probes(current.state.health) if frozen else current.state.health
            try:
                self._table.save(_with_state(current, status=status, health=health))
            except HostFailed:
                if frozen:  # a container that runs, for all that anybody knows, must do so
                    cgroups.set_frozen(self._parts.host.cgroups, group, False, 0.0)
                raise
            self._parts.tell(current, step.value)

    def tell_pruned(self, space: int) -> None:
        """Of all the stopped ones that were to go, the last is removed; `space` bytes are free again."""
        self._parts.events.publish("container", "prune", "", {"reclaimed": str(space)})

    async def rename(self, ref: str, name: str) -> None:
        """Raises Conflict where somebody has the name."""
        if not name:
            raise InvalidArgument("Neither old nor new names may be empty")
        identity = self.find(ref).id
        async with self._live(identity).lock:
            container = self.find(identity)
            if name.removeprefix("/") == container.name:
                raise InvalidArgument("Renaming a container with the same name as its current name")
            bare = self._allocate_name(name)
            renamed = self._table.save(connections.rename(self._parts, dataclasses.replace(container, name=bare)))
            follow_name(self._parts, container.name, bare)
            self._parts.tell(renamed, "rename", oldName=f"/{container.name}")

    def _allocate_name(self, name: str) -> str:
        try:
            bare = check_name(name if name.startswith("/") else f"/{name}")
            self._table.check_name_free(bare)
        except HostvmError as error:
            raise type(error)(f"Error when allocating new name: {error.message}", error.hint) from None
        return bare

    async def update(self, ref: str, request: UpdateRequest) -> tuple[str, ...]:
        """Change limits and restart policy; docker's warnings. Raises InvalidArgument, NotFound, Conflict."""
        request, warnings = check_update(self._parts, request)
        identity = self.find(ref).id
        async with self._live(identity).lock:
            before = self.find(identity)
            updated = plan_update(before, request)
            if before.running:
                await apply_update(self._parts, updated, request)
            current = self.find(identity)  # it may have ended meanwhile
            self._table.save(dataclasses.replace(current, host_config=updated.host_config))
            self._parts.tell(updated, "update")
        return warnings

    async def remove(self, ref: str, force: bool = False, volumes: bool = False) -> None:
        """Delete the record, then what is on disk. Raises Conflict for a running one without `force`."""
        identity = self.find(ref).id
        live = self._live(identity)
        async with live.lock:
            container = self.find(identity)
            if container.running or container.state.status is Status.RESTARTING:
                if not force:
                    next_status(container, Step.REMOVE)
                container = await self._end_for_removal(container)
                if container.host_config.auto_remove:
                    return
            self._table.forget(container)
            self._parts.tell(container, "destroy")
            await live.cleared()
            await remove_folders(self._parts, container, volumes)

    async def _end_for_removal(self, container: Container) -> Container:
        if container.state.status is Status.RESTARTING:
            self._end_restarting(container)
            return self.find(container.id)
        self._mark_stopped(container)
        self._kill(container, parse_signal("KILL"))
        if not await self._has_ended(container, _KILL_TIMEOUT):
            raise HostFailed(f"cannot remove container {container.id}: its process doesn't end, even killed")
        return self._table.get(container.id) or container

    def _end_restarting(self, container: Container) -> None:
        self._table.save(_with_state(container, status=Status.EXITED, stopped_by_user=True))
        live = self._live(container.id)
        live.restart_cancelled.set()
        live.next_run().give_up(container.state.exit_code)

    # -- waiting

    async def wait(self, ref: str, condition: str = "not-running") -> WaitResult:
        """Until the condition holds; see `waiter`."""
        return await self.waiter(ref, condition)

    def waiter(self, ref: str, condition: str) -> Awaitable[WaitResult]:
        """Registered at once: what ends between this call and the await isn't missed."""
        container = self.find(ref)
        return waiter(container, self._live(container.id), condition)

    async def _has_ended(self, container: Container, timeout: float | None) -> bool:
        """Whether the process ended, and its record says so, within `timeout` seconds (None = whenever)."""
        run = self._live(container.id).run
        current = self._table.get(container.id)
        if current is None or current.state.pid != container.state.pid:
            return True
        try:
            async with asyncio.timeout(timeout):
                await run.process_ended.wait()
            await asyncio.shield(run.exited)
        except TimeoutError:
            return False
        return True

    # -- streams

    def logs(self, ref: str, request: LogRequest) -> AsyncIterator[LogLines]:
        """Lines of its output; with `follow` until the present run has ended."""
        container = self.find(ref)
        check_readable(container.host_config)
        live = self._live(container.id)
        run = live.run
        if not container.running and container.state.status is not Status.RESTARTING:
            request = dataclasses.replace(request, follow=False)
        return read_lines(live.log, request, run.output_ended)

    def attach(self, ref: str, request: AttachRequest) -> Attachment:
        """Registered at once, also before the start. Raises Conflict for a paused container."""
        container = self.find(ref)
        if container.state.status is Status.PAUSED:
            raise Conflict(f"container {ref} is paused, unpause the container before attach")
        if container.state.status is Status.RESTARTING:
            raise Conflict(f"container {ref} is restarting, wait until the container is running")
        return attach_client(self._parts, container, request, from_start=request.logs)

    def resize(self, ref: str, rows: int, columns: int) -> None:
        container = self.find(ref)
        if not container.running:
            raise Conflict(f"Container {container.id} is not running")
        self._live(container.id).run.stdio.resize(rows, columns)
        self._parts.tell(container, "resize", height=str(rows), width=str(columns))

    def export(self, ref: str) -> AsyncIterator[bytes]:
        """A tar of its root file system, running or not."""
        container = self.find(ref)
        self._parts.tell(container, "export")
        return _export(self._parts, container)

    async def commit(self, request: CommitRequest) -> ImageId:
        """An image of what the container changed, paused meanwhile where that is asked for and it doesn't end."""
        container = self.find(request.container)
        pausing = request.pause and container.state.status is Status.RUNNING
        if pausing:
            with suppress(Conflict, NotFound):
                await self.pause(container.id)
        try:
            return await commit_container(self._parts, container, request)
        finally:
            if pausing:
                with suppress(Conflict, NotFound):
                    await self.unpause(container.id)

    # -- small things

    def _live(self, identity: str) -> Live:
        return self._table.live(self.find(identity).id)

    def _mark_stopped(self, container: Container) -> None:
        """Before the signal: if we die in between, start-up knows that the user wanted it to stop."""
        self._table.save(_with_state(container, stopped_by_user=True), durable=False)

    def _kill(self, container: Container, number: int) -> None:
        """Signals reach a frozen process when it thaws; SIGKILL must not wait for that."""
        send_signal(container.state.pid, container.state.start_ticks, number)
        self._parts.tell(container, "kill", signal=str(number))
        if container.state.status is Status.PAUSED and _ends_pause(container, number):
            cgroups.set_frozen(self._parts.host.cgroups, container.group, False, 0.0)
            current = self._table.get(container.id)
            if current is not None and current.state.status is Status.PAUSED:
                self._table.save(_with_state(current, status=Status.RUNNING), durable=False)
                self._parts.tell(current, "unpause")


def _stopping_signals(container: Container) -> set[int]:
    """Those by which a user means that it is to stay stopped."""
    return {parse_signal("KILL"), parse_signal(container.config.stop_signal or DEFAULT_STOP_SIGNAL)}


def _ends_pause(container: Container, number: int) -> bool:
    """Whether a signal lets a frozen container go on: any does, unless it has a stop signal of its own (dockerd)."""
    own = container.config.stop_signal
    return not own or number in (parse_signal(own), parse_signal("KILL"))


def _fresh(container: Container) -> Container:
    """The user starts it: what came before doesn't count for the restart policy any more."""
    return _with_state(container, stopped_by_user=False, restart_count=0, error="")


def _with_state(container: Container, **changes: object) -> Container:
    state = dataclasses.replace(container.state, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(container, state=state)


def _first_not_none(*values: int | None) -> int:
    return next(value for value in values if value is not None)


def _size_of(path: str) -> int:
    try:
        return tree_size(path)
    except FileNotFoundError:
        return 0


async def _export(parts: Parts, container: Container) -> AsyncIterator[bytes]:
    async with mounted_rootfs(parts, container) as rootfs, aclosing(parts.layers.export(rootfs)) as pieces:
        async for piece in pieces:
            yield piece
