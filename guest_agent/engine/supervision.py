"""A task for each running container: waits for its end, records it, and starts it again where its policy says so."""

from __future__ import annotations

import asyncio
import dataclasses

from guest_agent.engine.container import Container, Status
from guest_agent.engine.ending import record_exit, release, remove_folders, wait_for_process
from guest_agent.engine.parts import Parts
from guest_agent.engine.restarting import plan_pause, wants_restart
from guest_agent.engine.starting import start_container
from guest_agent.networks.publisher import Reservation
from guest_agent.wire.errors import RUN_EXIT_CODE, HostFailed, HostvmError

#: docker's exit code for a container whose start failed for another reason than its command.
_START_FAILED = 128


async def start_and_watch(parts: Parts, container: Container, reservation: Reservation | None = None) -> Container:
    """Start it and look after it from then on. Where the start fails that is recorded, and the error is raised."""
    try:
        started = await start_container(parts, container, reservation)
    except HostvmError as error:
        await _record_failure(parts, container, error)
        raise
    except OSError as error:
        failure = host_failure(error)
        await _record_failure(parts, container, failure)
        raise failure from error
    watch(parts, started)
    return started


def watch(parts: Parts, container: Container, stranger: bool = False) -> None:
    """Look after a container that runs already; see `wait_for_process` for strangers."""
    parts.tasks.start(_watch(parts, container, stranger), f"watch {container.short_id}")


async def _watch(parts: Parts, container: Container, stranger: bool) -> None:
    code = await wait_for_process(parts, container, stranger)
    ended = await record_exit(parts, container.id, code)
    while ended.state.status is Status.RESTARTING:
        if not await _pause(parts, ended):
            return
        retry = await _restart(parts, ended)
        if retry is None:
            return
        ended = retry


async def _pause(parts: Parts, container: Container) -> bool:
    """Wait as the policy says; False where the container was stopped or removed meanwhile."""
    live = parts.table.live(container.id)
    live.restart_cancelled.clear()
    live.restart_pause = plan_pause(container, live.restart_pause)
    try:
        async with asyncio.timeout(live.restart_pause):
            await live.restart_cancelled.wait()
        return False
    except TimeoutError:
        current = parts.table.get(container.id)
        return current is not None and current.state.status is Status.RESTARTING


async def _restart(parts: Parts, container: Container) -> Container | None:
    """One more start. None where it runs (and is watched by a task of its own) or isn't to be tried again."""
    live = parts.table.live(container.id)
    async with live.lock:
        current = parts.table.get(container.id)
        if current is None or current.state.status is not Status.RESTARTING:
            return None
        count = current.state.restart_count + 1
        counted = dataclasses.replace(current, state=dataclasses.replace(current.state, restart_count=count))
        try:
            await start_and_watch(parts, counted)
        except HostvmError:
            return _after_failed_restart(parts, counted)
    return None


def _after_failed_restart(parts: Parts, container: Container) -> Container | None:
    current = parts.table.get(container.id)
    if current is None or not wants_restart(current):
        return None
    return parts.table.save(
        dataclasses.replace(
            current,
            state=dataclasses.replace(
                current.state, status=Status.RESTARTING, restart_count=container.state.restart_count
            ),
        )
    )


def host_failure(error: OSError) -> HostFailed:
    """What the host refused: a full disk, no more descriptors, a missing mount."""
    where = f" {error.filename}" if error.filename else ""
    return HostFailed(f"cannot start the container:{where} {error.strerror or error}", "`hostvm doctor` may know why")


async def _record_failure(parts: Parts, container: Container, error: HostvmError) -> None:
    """docker: the container stays as `created` (or `exited`), with the reason; with `--rm` it goes."""
    code = RUN_EXIT_CODE.get(error.kind, _START_FAILED)
    live = parts.table.live(container.id)
    over = live.next_run()
    try:
        await _store_failure(parts, container, error, code)
    finally:
        over.give_up(code)


async def _store_failure(parts: Parts, container: Container, error: HostvmError, code: int) -> None:
    await release(parts, container)
    if container.host_config.auto_remove:
        parts.table.forget(container)
        await remove_folders(parts, container, volumes=True)
        parts.tell(container, "destroy")
    else:
        status = Status.CREATED if container.state.status is Status.CREATED else Status.EXITED
        state = dataclasses.replace(
            container.state, status=status, exit_code=code, error=error.message, provisional=False
        )
        parts.table.save(dataclasses.replace(container, state=state))
