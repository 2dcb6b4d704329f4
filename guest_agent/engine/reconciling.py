"""Start-up: the records are compared with the kernel, and made true again.

Whatever ended the last engine (kill -9, an upgrade, a power cut), four questions put it right:

1. Is a recorded process alive (by pid and start time)? Then it is adopted with the streams that the keeper held.
2. Has it ended meanwhile? Then the keeper's journal tells how, and its restart policy goes on.
3. Is there a bundle, runtime state or folder without such a process? It is what a start or an end had not finished:
   taken away.
4. Is there a record of a `run` that was never acknowledged? It goes, as if the run had failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os

from guest_agent.engine.connections import repair
from guest_agent.engine.container import Container, State, Status
from guest_agent.engine.ending import UNKNOWN_EXIT_CODE, discard_folder, record_exit, release, remove_folders
from guest_agent.engine.memory_events import watch_memory
from guest_agent.engine.parts import Parts, stdio_key
from guest_agent.engine.restarting import wants_start_with_engine
from guest_agent.engine.shipping import resume_shipping
from guest_agent.engine.starting import remove_remains
from guest_agent.engine.stdio import adopt_stdio
from guest_agent.engine.supervision import start_and_watch, watch
from guest_agent.keeper.client import ProcessKey
from guest_agent.linux.process import alive, send_signal, start_ticks
from guest_agent.runtime.crun import exit_code
from guest_agent.store.files import set_aside
from guest_agent.wire.errors import HostvmError
from guest_agent.wire.models import ContainerId

log = logging.getLogger(__name__)

#: Seconds for the keeper to reap a process that is dead already.
_REAP_TIMEOUT = 5.0


async def reconcile(parts: Parts) -> None:
    """Once, before the engine serves."""
    alive_ones = [one for one in parts.table.all() if _is_alive(one)]
    for container in alive_ones:
        if container.state.provisional:
            send_signal(container.state.pid, container.state.start_ticks, 9)
    adopted = [one for one in alive_ones if not one.state.provisional]
    parts.networks.reconcile({one.id: (one.endpoints, one.ports) for one in adopted})
    for container in adopted:
        await repair(parts, container)
        _adopt(parts, container)
        resume_shipping(parts, container)
    parts.volumes.settle((point.name, one.id) for one in adopted for point in one.mount_points)
    exits = parts.keeper.past_exits()  # after the look at who lives: what ended in between is in it
    known: set[str] = {one.id for one in adopted}
    await _remove_strays(parts, known)
    for container in [one for one in parts.table.all() if one.id not in known]:
        await _settle(parts, container, exits)
    _remove_orphan_folders(parts)


def _is_alive(container: Container) -> bool:
    return container.running and alive(container.state.pid, container.state.start_ticks)


def _adopt(parts: Parts, container: Container) -> None:
    live = parts.table.live(container.id)
    fds, note = parts.keeper.get(stdio_key(container.id))
    if fds:
        live.run.begin(adopt_stdio(fds, note))
    else:
        live.run.end_output()
    live.run.started.set()
    watch_memory(parts, container)
    watch(parts, container, stranger=not fds)


async def _remove_strays(parts: Parts, adopted: set[str]) -> None:
    """What starts and ends left half-done, of whatever container."""
    bundles = set(_names_in(parts.paths.bundles))
    for identity in sorted((bundles | set(parts.runtime.known())) - adopted):
        record = parts.table.get(ContainerId(identity))
        try:
            await remove_remains(parts, identity, record.group if record else "")
        except (HostvmError, OSError) as error:
            log.warning("can't clear up after container %s: %s", identity[:12], error)
    held = parts.keeper.keys()
    for key in held:
        kind, _colon, identity = key.partition(":")
        if kind == "stdio" and identity not in adopted:
            _drain(parts, identity, key)


def _drain(parts: Parts, identity: str, key: str) -> None:
    """The last output of a process that ended while no engine was there: it is still in the pipes."""
    fds, note = parts.keeper.get(key)
    container = next((one for one in parts.table.all() if one.id == identity), None)
    if fds and container is not None:
        parts.table.live(container.id).run.begin(adopt_stdio(fds, note))
    parts.keeper.drop(key)


async def _settle(parts: Parts, container: Container, exits: dict[ProcessKey, int]) -> None:
    """A container without a process, whatever its record says."""
    if container.state.provisional:
        await release(parts, container)
        parts.table.forget(container)
        await remove_folders(parts, container, volumes=True)
        return
    was_running = container.running or container.state.status is Status.RESTARTING
    if container.running:
        container = await record_exit(parts, container.id, await _find_exit_code(parts, container.state, exits))
    if was_running or wants_start_with_engine(container, was_running):
        await _bring_back(parts, container, was_running)


async def _find_exit_code(parts: Parts, state: State, exits: dict[ProcessKey, int]) -> int:
    """From the journal; a zombie is about to get into it."""
    status = exits.get((state.pid, state.start_ticks))
    if status is None and start_ticks(state.pid) == state.start_ticks:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REAP_TIMEOUT):
                status = await parts.keeper.wait(state.pid, state.start_ticks)
    return UNKNOWN_EXIT_CODE if status is None else exit_code(status)


async def _bring_back(parts: Parts, container: Container, was_running: bool) -> None:
    if parts.table.get(container.id) is None:
        return
    if not wants_start_with_engine(container, was_running):
        if container.state.status is Status.RESTARTING:
            parts.table.save(_with_status(container, Status.EXITED))
        return
    try:
        await start_and_watch(parts, _with_status(container, Status.EXITED))
    except HostvmError as error:
        log.warning("container %s isn't started again: %s", container.short_id, error)


def _with_status(container: Container, status: Status) -> Container:
    return dataclasses.replace(container, state=dataclasses.replace(container.state, status=status))


def _remove_orphan_folders(parts: Parts) -> None:
    """Folders of containers whose record was deleted. Records that couldn't be read keep theirs."""
    kept = {one.id for one in parts.table.all()} | set(parts.table.unreadable)
    for name in _names_in(parts.paths.containers):
        if name in kept:
            continue
        if parts.records.warnings:  # its record may be among those that a damaged database has lost
            set_aside(parts.paths.container(name), parts.paths.set_aside)
        else:
            discard_folder(parts.paths, parts.tasks, parts.paths.container(name))


def _names_in(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
