"""POST /build?version=2: a whole job in one request, as docker's own command line asked for it before `/grpc`.

The client's session is the same one. What Status tells comes as lines of JSON in between, and the result as the last.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from guest_agent.buildkit.jobs import Job
from guest_agent.buildkit.messages import Exporter
from guest_agent.buildkit.services import BuildKit
from guest_agent.buildkit.solve_requests import UPLOAD_REQUEST, plan_solve
from guest_agent.engine.build_requests import BuildRequest
from guest_agent.rpc.protobuf import encode
from guest_agent.rpc.status import CallFailed, Code
from guest_agent.wire.errors import Conflict, Unavailable

Report = dict[str, object]
_Work = asyncio.Task[dict[str, str]]
_T = TypeVar("_T")

#: Seconds that a build and the request that brings its context wait for each other; dockerd's.
_PATIENCE = 5.0
_IMAGE = "containerimage.digest"


@dataclass(frozen=True, slots=True)
class HttpBuild:
    """One request. `identity` is the client's choice; `session` may be "" where the files come with the request."""

    request: BuildRequest
    session: str
    identity: str
    outputs: tuple[Exporter, ...] = ()


@dataclass(slots=True)
class _Upload:
    """Where a build and its context meet."""

    brought: asyncio.Future[AsyncIterator[bytes]] = field(default_factory=asyncio.Future)
    taken: asyncio.Event = field(default_factory=asyncio.Event)
    read: asyncio.Event = field(default_factory=asyncio.Event)


class HttpBuilds:
    """Builds by the ids that their clients have given them."""

    def __init__(self, service: BuildKit) -> None:
        self._service = service
        self._running: dict[str, _Work] = {}
        self._uploads: dict[str, _Upload] = {}

    async def build(self, wanted: HttpBuild, body: AsyncIterator[bytes]) -> AsyncGenerator[Report, None]:
        """docker's progress objects, the image in the last one; nothing for a request that only brings a context.

        Closing the iterator ends the build. Raises HostvmError in BuildKit's words.
        """
        if wanted.identity.startswith(f"{UPLOAD_REQUEST}:"):
            await self._bring(wanted.identity.partition(":")[2], body)
            return
        await self._service.sessions.wait_connected(wanted.session)  # docker hangs when it fails before that
        solve = plan_solve(wanted.request, wanted.session, wanted.outputs)
        async with self._context(wanted, body) as context:
            job = Job(solve, self._service.builds, self._service.sessions, context)
            async with aclosing(self._carry_out(job, wanted)) as reports:
                async for report in reports:
                    yield report

    def cancel(self, identity: str) -> None:
        """The build ends as a failed one. Nothing is said of an unknown one: it may be over."""
        if identity in self._running:
            self._running[identity].cancel()

    async def _carry_out(self, job: Job, wanted: HttpBuild) -> AsyncGenerator[Report, None]:
        work = asyncio.create_task(self._service.carry_out(job))
        work.add_done_callback(lambda _work: job.progress.end())
        try:
            with self._cancellable(wanted.identity, work):
                if wanted.request.quiet:
                    await asyncio.wait([work])
                if not wanted.request.quiet or _has_failed(work):
                    async with aclosing(job.progress.watch()) as told:
                        async for response in told:
                            yield {"id": "moby.buildkit.trace", "aux": base64.b64encode(encode(response)).decode()}
                await asyncio.wait([work])
            if work.cancelled():
                raise CallFailed(Code.CANCELLED, "context canceled")
            yield _result(work.result().get(_IMAGE, ""), wanted.request.quiet)
        finally:
            work.cancel()
            await asyncio.wait([work])

    @contextmanager
    def _cancellable(self, identity: str, work: _Work) -> Iterator[None]:
        self._running[identity] = work
        try:
            yield
        finally:
            if self._running.get(identity) is work:
                del self._running[identity]

    @asynccontextmanager
    async def _context(
        self, wanted: HttpBuild, body: AsyncIterator[bytes]
    ) -> AsyncGenerator[AsyncIterator[bytes] | None, None]:
        """The tar, unless the session or a server has the files. Raises Unavailable if it doesn't come."""
        if wanted.request.remote != UPLOAD_REQUEST:
            yield None if wanted.request.remote else body
            return
        async with self._meeting(wanted.identity) as upload:
            context = await _in_time(asyncio.shield(upload.brought))
            upload.taken.set()
            try:
                yield context
            finally:
                upload.read.set()

    async def _bring(self, identity: str, body: AsyncIterator[bytes]) -> None:
        """Until the build is over. Raises Unavailable if there is none, Conflict if it has its context."""
        async with self._meeting(identity) as upload:
            if upload.brought.done():
                raise Conflict(f"the context of the build {identity} is there already")
            upload.brought.set_result(body)
            await _in_time(upload.taken.wait())
            await upload.read.wait()

    @asynccontextmanager
    async def _meeting(self, identity: str) -> AsyncGenerator[_Upload, None]:
        upload = self._uploads.setdefault(identity, _Upload())
        try:
            yield upload
        finally:
            if self._uploads.get(identity) is upload:
                del self._uploads[identity]


def _has_failed(work: _Work) -> bool:
    return work.cancelled() or work.exception() is not None


def _result(image: str, quiet: bool) -> Report:
    """Of a build for files: ""."""
    return {"stream": f"{image}\n"} if quiet else {"id": "moby.image.id", "aux": {"ID": image}}


async def _in_time(awaited: Awaitable[_T]) -> _T:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await awaited
    except TimeoutError:
        raise Unavailable("context deadline exceeded") from None
