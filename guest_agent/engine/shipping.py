"""Sends what a container prints to the journal or a syslog server, where its log driver says so.

It reads from the log's files as an attached client does, at the destination's pace, and notes how far it has come: an
engine that was killed goes on there, and sends at most a batch twice. With `mode=non-blocking` a destination that is
slower than the container loses what the files have no room for; otherwise the files grow until it has caught up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import struct
from collections.abc import Iterable

from guest_agent.engine.container import Container
from guest_agent.engine.lines import follow_chunks
from guest_agent.engine.live import Live, Run
from guest_agent.engine.log_attributes import extra_attributes, plan_tag
from guest_agent.engine.output import STDERR, OutputLog, Position
from guest_agent.engine.parts import Parts
from guest_agent.logs.journal import Journal, sanitize_field
from guest_agent.logs.messages import Destination, Message, MessageSplitter
from guest_agent.logs.syslog_client import Syslog, make_syslog
from guest_agent.wire.errors import HostFailed, HostvmError

log = logging.getLogger(__name__)

#: Chunks that are read at once: at most 1 MiB.
_BATCH = 16

#: Seconds for the last messages of a container that has ended (dockerd's loggerCloseTimeout).
_LAST_MESSAGES = 10.0

_NOTE = struct.Struct("<QQQ")


class Progress:
    """How far a log has been sent, in a file of its own."""

    def __init__(self, path: str) -> None:
        self._path = path

    def load(self) -> Position:
        """The beginning where nothing has been sent yet."""
        try:
            with open(self._path, "rb") as file:
                return Position(*_NOTE.unpack(file.read(_NOTE.size)))
        except (FileNotFoundError, struct.error):
            return Position(0, 0, 0)

    def save(self, position: Position) -> None:
        """On a full disk, or in a container's folder that was removed, the file stays as it is."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, _NOTE.pack(position.entries, position.stdout, position.stderr), 0)
            finally:
                os.close(descriptor)


async def open_destination(container: Container) -> Destination | None:
    """None where its messages stay here. Raises HostFailed in dockerd's words."""
    try:
        destination = _find_destination(container)
        if isinstance(destination, Syslog):
            await destination.connect()
        return destination
    except HostvmError as error:
        raise HostFailed(
            f"failed to create task for container: failed to initialize logging driver: {error.message}"
        ) from error


def _find_destination(container: Container) -> Destination | None:
    """A syslog server is connected to at the first message. Raises HostFailed."""
    match container.host_config.log_driver:
        case "journald":
            return _open_journal(container)
        case "syslog":
            return make_syslog(container.host_config.log_options, plan_tag(container))
        case _:
            return None


def _open_journal(container: Container) -> Destination:
    try:
        return Journal(plan_journal_fields(container))
    except OSError as error:
        raise HostFailed("journald is not enabled on this host") from error


def plan_journal_fields(container: Container) -> dict[str, str]:
    """What all of its entries have."""
    tag = plan_tag(container)
    extra = {sanitize_field(name): text for name, text in extra_attributes(container).items()}
    return {
        "CONTAINER_ID": container.short_id,
        "CONTAINER_ID_FULL": container.id,
        "CONTAINER_NAME": container.name,
        "CONTAINER_TAG": tag,
        "IMAGE_NAME": container.image_name,
        "SYSLOG_IDENTIFIER": tag,
        **{name: text for name, text in extra.items() if name},
    }


def start_shipping(parts: Parts, container: Container, destination: Destination | None) -> None:
    """Send the present run's output. What an earlier run has left to send goes first."""
    if destination is None:
        return
    live = parts.table.live(container.id)
    blocking = container.host_config.log_options.get("mode") != "non-blocking"
    progress = Progress(parts.paths.shipped(container.id))
    work = _ship(live, live.run, destination, progress, blocking)
    parts.tasks.start(work, f"logs of {container.short_id}")


def resume_shipping(parts: Parts, container: Container) -> None:
    """For a container that an earlier engine started: a destination that is gone doesn't end it."""
    try:
        start_shipping(parts, container, _find_destination(container))
    except HostvmError as error:
        log.warning("the log of container %s isn't sent any more: %s", container.short_id, error)


async def _ship(live: Live, run: Run, destination: Destination, progress: Progress, blocking: bool) -> None:
    try:
        async with live.shipping, asyncio.timeout(None) as deadline:
            sending = asyncio.ensure_future(ship(live.log, run.output_ended, destination, progress, blocking))
            await run.output_ended.wait()
            deadline.reschedule(asyncio.get_running_loop().time() + _LAST_MESSAGES)
            await sending
    except TimeoutError:
        log.warning("a log's destination is too slow: its last messages are lost")
    finally:
        destination.close()


async def ship(
    output: OutputLog, ended: asyncio.Event, destination: Destination, progress: Progress, blocking: bool
) -> None:
    """Send all that comes until `ended`, from where the last one stopped."""
    position = progress.load()
    splitter = MessageSplitter()
    if blocking:
        output.hold(position)
    try:
        async for chunks in follow_chunks(output, position, ended, limit=_BATCH):
            reached = position.copy()
            pieces = [(chunk, output.read(chunk)) for chunk in chunks]
            for chunk, data in pieces:
                await _send(destination, splitter.feed(chunk.stream == STDERR, chunk.time_ns, data))
            if not splitter.pending:
                progress.save(reached)
        await _send(destination, splitter.finish())
        progress.save(position)
    finally:
        output.release(position)


async def _send(destination: Destination, messages: Iterable[Message]) -> None:
    """What can't be delivered is lost, as with dockerd."""
    for message in messages:
        try:
            await destination.send(message)
        except OSError as error:
            log.warning("a message of a container's log is lost: %s", error)
