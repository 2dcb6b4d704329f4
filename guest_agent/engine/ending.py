"""From a process that has ended to a record that says so: for containers that exit, and for those that must go.

The order matters to those who wait. Ports and address are free, and the record is stored (or deleted, for `--rm`),
before anybody is told; folders and mounts are taken away after that, and the next start waits for it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import time

from guest_agent.engine.background import BackgroundTasks
from guest_agent.engine.container import Container, State, Status
from guest_agent.engine.failpoints import failpoint
from guest_agent.engine.health import health_without_probes
from guest_agent.engine.lifecycle import Step, next_status
from guest_agent.engine.live import Live, Run
from guest_agent.engine.parts import Parts, stdio_key
from guest_agent.engine.restarting import wants_restart
from guest_agent.engine.starting import remove_remains
from guest_agent.engine.volume_uses import let_go_of_volume, tell_unmounted
from guest_agent.linux.process import open_process
from guest_agent.runtime.cgroups import oom_killed
from guest_agent.runtime.crun import exit_code
from guest_agent.store.files import move_to_grave, remove_tree
from guest_agent.store.paths import EnginePaths
from guest_agent.wire.errors import HostvmError

log = logging.getLogger(__name__)

#: Seconds that output may still come after the process has ended: a stranger may hold the pipe.
_OUTPUT_GRACE = 2.0
#: A stranger that prints without end is left after as many of these.
_MOST_GRACES = 5

#: Seconds in which whoever reads the root (`cp`, `export`) has opened it; its unmounting disturbs nobody then.
_READERS_GRACE = 5.0
#: Seconds by which clearing up (2 ms of work) lets the answers to those who waited for the end go first.
_ANSWER_FIRST = 0.004

#: What docker records where nobody knows how a process ended.
UNKNOWN_EXIT_CODE = 255


async def wait_for_process(parts: Parts, container: Container, stranger: bool) -> int:
    """The exit code of a running container's process, as soon as it has ended.

    A stranger isn't the keeper's child: an earlier keeper was killed, init has adopted the process, and only init
    learns its exit code.
    """
    state = container.state
    if stranger:
        await _wait_for_stranger(state)
        return UNKNOWN_EXIT_CODE
    return exit_code(await parts.keeper.wait(state.pid, state.start_ticks))


async def _wait_for_stranger(state: State) -> None:
    descriptor = open_process(state.pid, state.start_ticks)
    if descriptor is None:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def record_exit(parts: Parts, container_id: str, code: int) -> Container:
    """The process has ended with `code`: free what it held, store the end, tell everybody.

    Returns the record as stored (or as it was last, where it is deleted with `--rm`).
    """
    container = parts.table.find(container_id)
    live = parts.table.live(container.id)
    live.run.process_ended.set()
    await _drain_output(live.run)
    await _release_as_far_as_possible(parts, container)
    container = parts.table.find(container_id)  # as it is by now: renamed, or marked as stopped by the user
    ended = _ended(parts, container, code)
    parts.oom.forget(container.id)
    restart = wants_restart(ended)
    if restart:
        ended = dataclasses.replace(ended, state=dataclasses.replace(ended.state, status=Status.RESTARTING))
    doomed = ended.host_config.auto_remove and not (restart or live.is_kept)
    live.last_endpoints = container.endpoints
    over = live.next_run()
    _store(parts, ended, doomed)
    _announce(parts, container, ended, doomed)
    over.finish(code)
    over.close()
    live.clearing = parts.tasks.start(_clear(parts, live, ended, doomed), f"clear {container.short_id}")
    return ended


async def _drain_output(run: Run) -> None:
    """All that it printed is in the log, if this engine has been kept from work for so long that it is behind."""
    for _ in range(_MOST_GRACES):
        try:
            async with asyncio.timeout(_OUTPUT_GRACE):
                await run.output_ended.wait()
            return
        except TimeoutError:
            if run.pump is None or not run.pump.is_behind:
                break
    if run.pump is not None:
        run.pump.stop()


async def _release_as_far_as_possible(parts: Parts, container: Container) -> None:
    """Whatever the kernel refuses here, the end must be recorded and told; start-up releases the rest."""
    try:
        await release(parts, container)
    except (HostvmError, OSError) as error:
        log.warning("can't release what container %s had: %s", container.short_id, error)


async def release(parts: Parts, container: Container) -> None:
    """Ports, address and held descriptors are free again. Idempotent."""
    await parts.networks.release(container.id)
    for endpoint in container.endpoints:
        parts.networks.disconnect(container.id, endpoint)
    if container.unconnected:
        parts.networks.names.stop(container.id)
    for point in container.mount_points:
        await let_go_of_volume(parts, container, point)
    parts.keeper.drop(stdio_key(container.id))


def _ended(parts: Parts, container: Container, code: int) -> Container:
    state = dataclasses.replace(
        container.state,
        status=next_status(container, Step.EXIT),
        provisional=False,
        pid=0,
        start_ticks=0,
        exit_code=code,
        oom_killed=container.state.oom_killed or oom_killed(parts.host.cgroups, container.group),
        finished_ns=time.time_ns(),
        health=health_without_probes(container.state.health),
    )
    return dataclasses.replace(container, state=state, endpoints=(), ports=())


def _store(parts: Parts, ended: Container, doomed: bool) -> None:
    """A full disk must not keep a container running in the books: the memory says the truth, the disk follows."""
    try:
        failpoint("exit.record.before")
        if doomed:
            parts.table.forget(ended)
        else:
            parts.table.save(ended)
        failpoint("exit.record.after")
    except HostvmError as error:
        log.warning("the end of container %s can't be stored: %s", ended.short_id, error)
        if doomed:
            parts.table.drop(ended)
        else:
            parts.table.remember_only(ended)


def _announce(parts: Parts, before: Container, ended: Container, doomed: bool) -> None:
    if ended.state.oom_killed and not before.state.oom_killed:
        parts.tell(ended, "oom")
    duration = max(0, ended.state.finished_ns - ended.state.started_ns) // 10**9
    parts.tell(ended, "die", execDuration=str(duration), exitCode=str(ended.state.exit_code))
    for endpoint in before.endpoints:
        parts.tell_network(endpoint, "disconnect", ended.id)
    for point in before.mount_points:
        tell_unmounted(parts, ended, point)
    if doomed:
        parts.tell(ended, "destroy")


async def _clear(parts: Parts, live: Live, container: Container, doomed: bool) -> None:
    await asyncio.sleep(_ANSWER_FIRST)
    await live.unread(_READERS_GRACE)
    await remove_remains(parts, container.id, container.group)
    if doomed:
        await remove_folders(parts, container, volumes=True)


async def remove_folders(parts: Parts, container: Container, volumes: bool) -> None:
    """What the container wrote, and with `volumes` its anonymous ones. The record is gone already."""
    folder = parts.paths.container(container.id)
    if os.path.isdir(folder):
        discard_folder(parts.paths, parts.tasks, folder)
    for point in container.mount_points if volumes else ():
        if point.anonymous:
            _remove_volume(parts, point.name)
    await parts.images.collect({other.image_id for other in parts.table.all()})


def discard_folder(paths: EnginePaths, tasks: BackgroundTasks, folder: str) -> None:
    """Out of sight at once, removed in the background; a container that wrote nothing isn't worth a thread."""
    grave = move_to_grave(folder, paths.temporary)
    if _is_nearly_empty(grave):
        remove_tree(grave)
        return
    tasks.start(asyncio.to_thread(remove_tree, grave), f"remove {os.path.basename(folder)[:12]}")


def _is_nearly_empty(folder: str) -> bool:
    """No output, and nothing in the upper folder: a handful of folders of overlayfs' own."""
    names = set(os.listdir(folder))
    return names <= {"upper", "work"} and not ("upper" in names and os.listdir(f"{folder}/upper"))


def _remove_volume(parts: Parts, name: str) -> None:
    try:
        parts.volumes.remove(name, force=True)
    except HostvmError:
        pass  # another container has it by --volumes-from


def undo_create(parts: Parts, container: Container) -> None:
    """Forget a container that a failed `run` had made."""
    parts.table.forget(container)
    parts.tasks.start(remove_folders(parts, container, volumes=True), f"undo {container.short_id}")
