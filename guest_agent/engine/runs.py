"""`run` in one exchange: pull by policy, create, attach, start. The same functions that the single verbs use."""

from __future__ import annotations

from contextlib import aclosing
from typing import Protocol

from guest_agent.engine.attaching import attach_client
from guest_agent.engine.attachment import Attachment
from guest_agent.engine.container import Container
from guest_agent.engine.ending import undo_create
from guest_agent.engine.failpoints import failpoint
from guest_agent.engine.images import Images
from guest_agent.engine.making import check_platform, make_container, with_tag
from guest_agent.engine.parts import Parts
from guest_agent.engine.requests import RunOutcome, RunRequest
from guest_agent.engine.supervision import start_and_watch
from guest_agent.engine.wiring import plan_published
from guest_agent.networks.publisher import Reservation
from guest_agent.wire.errors import RUN_EXIT_CODE, HostvmError, NotFound


class RunListener(Protocol):
    """Who is told how a run goes: the client's session."""

    def progress(self, report: dict[str, object]) -> None:
        """One of docker's progress objects of a pull."""

    def created(self, container_id: str, warnings: tuple[str, ...]) -> None:
        """The container exists."""

    def attached(self, attachment: Attachment) -> None:
        """Before the start, so that no output is missed."""

    def started(self, container_id: str) -> None:
        """The process runs."""


class Runs:
    """The whole of `run`."""

    def __init__(self, parts: Parts, images: Images) -> None:
        self._parts = parts
        self._images = images

    async def run(self, request: RunRequest, listener: RunListener) -> RunOutcome:
        """Pull, create, attach and start. The outcome's exit code is the attachment's to wait for.

        A taken port is refused before anything is made. Where the start fails by the engine's fault nothing stays;
        a command that can't be executed leaves the container as created, as docker does.
        """
        await self._provide_image(request, listener)
        return await self._parts.tasks.finish(self._make_and_start(request, listener), "run")

    async def _make_and_start(self, request: RunRequest, listener: RunListener) -> RunOutcome:
        failpoint("run.make.before")
        container, warnings = make_container(self._parts, request.create, provisional=True)
        failpoint("run.make.after")
        live = self._parts.table.live(container.id)
        async with live.lock:
            try:
                reservation = await self._reserve(container)
                listener.created(container.id, warnings)
                if not request.detach:
                    listener.attached(attach_client(self._parts, container, request.attach, from_start=True))
                await start_and_watch(self._parts, container, reservation)
            except BaseException as error:
                await self._undo(container, error)
                raise
        listener.started(container.id)
        return RunOutcome(container.id, None)

    async def _reserve(self, container: Container) -> Reservation | None:
        bindings = plan_published(self._parts, container)
        if not bindings:
            return None
        return await self._parts.networks.reserve(container.id, bindings, container.name)

    async def _undo(self, container: Container, error: BaseException) -> None:
        await self._parts.networks.release(container.id)
        stays = isinstance(error, HostvmError) and error.kind in RUN_EXIT_CODE
        if not stays and self._parts.table.get(container.id) is not None:
            undo_create(self._parts, container)

    async def _provide_image(self, request: RunRequest, listener: RunListener) -> None:
        name, platform = request.create.config.image, request.create.platform
        if request.pull != "always":
            try:
                check_platform(name, self._images.find(name).config, platform)
                return
            except NotFound:
                if request.pull == "never":
                    return  # what makes the container says that there is none
            listener.progress({"status": f"Unable to find image '{with_tag(name)}' locally"})
        async with aclosing(self._images.pull(name, platform, request.credentials)) as reports:
            async for report in reports:
                listener.progress(report)
