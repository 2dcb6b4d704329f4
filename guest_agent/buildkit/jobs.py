"""Jobs by their ref, and how one is carried out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import replace
from types import MappingProxyType

from guest_agent.build.reading import DockerfileError
from guest_agent.buildkit.asking import SessionClient
from guest_agent.buildkit.attributes import (
    FRONT_END,
    IMAGE_EXPORTERS,
    TAR,
    check_syntax,
    exporters_of,
    grants_host_network,
    plan_build_request,
)
from guest_agent.buildkit.body import body, read_definition, uploaded
from guest_agent.buildkit.builds import Builds
from guest_agent.buildkit.faults import failure, words_of
from guest_agent.buildkit.messages import ReturnRequest, SolveRequest
from guest_agent.buildkit.progress import Progress
from guest_agent.buildkit.sessions import Sessions
from guest_agent.images.reference import parse_reference
from guest_agent.rpc.status import CallFailed, Code
from guest_agent.wire.errors import HostvmError, InvalidArgument, NotFound
from guest_agent.wire.models import ImageConfig

#: Seconds for a job that its client begins at the same time as it asks for it. BuildKit's own are 3.
_PATIENCE = 10.0
#: Ended jobs whose progress may still be asked for.
_REMEMBERED = 8


class Job:
    """One build of a client's. `returned` is set by the client when it is content, or gives up.

    `context` is a tar that came with the request, and not by the session.
    """

    def __init__(
        self,
        request: SolveRequest,
        builds: Builds,
        sessions: Sessions,
        context: AsyncIterator[bytes] | None = None,
    ) -> None:
        self.request = request
        self.progress = Progress(request.ref)
        self.returned: asyncio.Future[ReturnRequest] = asyncio.get_running_loop().create_future()
        self._dockerfile = b""
        self._builds = builds
        self._sessions = sessions
        self._context = context
        self._result = builds.open_result()

    @property
    def image(self) -> str:
        """What was built; "" before."""
        return self._result.image

    @property
    def config(self) -> ImageConfig | None:
        """Its configuration, also of a result that isn't an image."""
        return self._result.config

    async def build(
        self, frontend: str, attributes: Mapping[str, str], others: Mapping[str, ImageConfig] = MappingProxyType({})
    ) -> None:
        """`image` is known then. `others` are the results of other jobs, by their ids.

        Raises CallFailed in BuildKit's words; its code is UNKNOWN, whose name isn't shown.
        """
        if frontend != FRONT_END:
            wanted = f"front end {frontend}" if frontend else "build from a definition"
            raise CallFailed(Code.UNKNOWN, f"a {wanted} is not supported: only {FRONT_END} is")
        try:
            await self._carry_out(attributes, others)
        except HostvmError as error:
            message = words_of(error, self.request.ref, self.progress.failed_base)
            self.progress.give_up(message)
            line = error.line if isinstance(error, DockerfileError) else self.progress.failed_line
            raise failure(message, attributes.get("filename", ""), self._dockerfile, line) from error
        except asyncio.CancelledError:
            self.progress.give_up("context canceled")
            raise

    async def _carry_out(self, attributes: Mapping[str, str], others: Mapping[str, ImageConfig]) -> None:
        host_network = grants_host_network(self.request.entitlements)
        wanted = plan_build_request(attributes, exporters_of(self.request))
        session = await self._sessions.wait_connected(
            attributes.get(f"local-sessionid:{wanted.context_folder}", "") or self.request.session
        )
        definition = await read_definition(session, wanted, self.progress)
        self._dockerfile = definition.dockerfile
        if wanted.is_folder:
            check_syntax(definition.dockerfile, wanted.request.arguments)
        if self._context is not None:
            chunks = uploaded(self._context, self.progress)
        else:
            chunks = body(session, wanted, definition, self.progress)
        client = SessionClient(session)
        request = replace(wanted.request, unstored=others, host_network=host_network)
        building = self._builds.build(request, chunks, self.progress, client, self._result)
        async with aclosing(building) as reports:
            async for _report in reports:
                await self.progress.room()

    async def export(self) -> dict[str, str]:
        """To where the client wants the result; what an exporter tells of it."""
        told: dict[str, str] = {}
        for number, exporter in enumerate(exporters_of(self.request) if self.image else ()):
            if exporter.type in IMAGE_EXPORTERS:
                told |= self._tell_image(exporter.attrs.get("name", ""))
            else:
                await self._send_files(exporter.type, number)
        return told

    def close(self) -> None:
        self._result.close()

    def _tell_image(self, names: str) -> dict[str, str]:
        with self.progress.shown("exporting to image") as shown:
            for done in ("exporting layers", f"writing image {self.image}"):
                self.progress.part(shown, done)
            for name in filter(None, names.split(",")):
                self.progress.part(shown, f"naming to {parse_reference(name).canonical}")
        told = {"containerimage.config.digest": self.image, "containerimage.digest": self.image}
        return {**told, "image.name": names} if names else told

    async def _send_files(self, kind: str, number: int) -> None:
        session = await self._sessions.wait_connected(self.request.session)
        if kind == TAR:
            with self.progress.shown("sending tarball"):
                async with aclosing(self._result.export()) as pieces:
                    await session.send_file(pieces, number)
            return
        with self.progress.shown("exporting to client directory"):
            tree = await self._result.open()
            try:
                await session.send_folder(tree, number)
            finally:
                tree.close()


class Jobs:
    """Those that run, and what the last of them told: buildx's probes are over before it asks how far they are."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._over: deque[tuple[str, Progress]] = deque(maxlen=_REMEMBERED)
        self._changed = asyncio.Event()

    @contextmanager
    def running(self, job: Job) -> Iterator[None]:
        ref = job.request.ref
        if not ref or ref in self._jobs:
            raise InvalidArgument(f"job ID {ref} exists" if ref else "a job needs an ID")
        self._jobs[ref] = job
        self._changed.set()
        try:
            yield
        finally:
            del self._jobs[ref]
            job.progress.end()
            job.close()
            self._over.append((ref, job.progress))

    def results(self) -> dict[str, ImageConfig]:
        """Of those that have been built and wait for their clients."""
        configs = [job.config for job in self._jobs.values()]
        return {config.id: config for config in configs if config is not None}

    async def find_progress(self, ref: str) -> Progress:
        """Of one that runs, or has. Raises NotFound if it doesn't come."""
        over = [progress for name, progress in self._over if name == ref]
        return over[-1] if over and ref not in self._jobs else (await self.find(ref)).progress

    async def find(self, ref: str) -> Job:
        """Raises NotFound if it doesn't come."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while ref not in self._jobs:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise NotFound(f"no such job {ref}") from None
        return self._jobs[ref]
