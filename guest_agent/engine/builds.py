"""`build`: from a context and a Dockerfile to an image. The graph comes from `build.planning`; here it is carried out.

Theory of operation. The body is read into a tree in memory (`build.trees`); the Dockerfile is parsed and planned, pure;
each stage that the target needs is a task (`build_stage`), which waits for other stages where it needs them. A step is
looked up in the cache by a key of everything that it follows from; else it is made: a root is mounted, its upper
folder becomes the layer by a rename. At the end, also of a failed build, the layers are put on the disk in one go and
recorded, with the image or for the cache alone. Killed before that, start-up finds folders without a record, and
removes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from guest_agent.build.instructions import Dockerfile
from guest_agent.build.labelling import with_labels
from guest_agent.build.numbering import StepNumbers, number_steps
from guest_agent.build.parsing import parse_dockerfile
from guest_agent.build.planning import SCRATCH, BuildPlan, plan_build
from guest_agent.build.snapshots import Snapshot
from guest_agent.build.variables import PROXIES, Platforms
from guest_agent.engine.build_caches import CacheFolders
from guest_agent.engine.build_client import BuildClient
from guest_agent.engine.build_context import BuildBody, read_body
from guest_agent.engine.build_output import BuildOutput
from guest_agent.engine.build_reports import Report, Reports
from guest_agent.engine.build_requests import BuildRequest, NotCached
from guest_agent.engine.build_results import BuildResult
from guest_agent.engine.build_session import BuildSession
from guest_agent.engine.build_squash import squash
from guest_agent.engine.build_stage import StageBuild
from guest_agent.engine.build_turns import Turns
from guest_agent.engine.build_usage import CacheUsage
from guest_agent.engine.build_watching import BuildWatcher
from guest_agent.engine.failpoints import failpoint
from guest_agent.engine.lent_agents import CommandLine, Duplex, LentAgents
from guest_agent.engine.parts import Parts
from guest_agent.images.configs import encode_config, parse_config
from guest_agent.images.platforms import Platform, host_platform, parse_platform
from guest_agent.images.reference import Reference, parse_reference
from guest_agent.images.store import NewImage
from guest_agent.runtime.limit_checks import settle_limits
from guest_agent.store.content import digest_of
from guest_agent.wire.cache_records import CacheRecord, PruneRequest
from guest_agent.wire.errors import HostvmError, InvalidArgument, NotFound
from guest_agent.wire.models import ImageConfig, ImageId, Origin


@dataclass(frozen=True, slots=True)
class _Ways:
    """To the client: what it hears, and is asked."""

    reports: Reports
    watcher: BuildWatcher
    client: BuildClient
    result: BuildResult | None = None


class Builds:
    """The build verbs of the engine."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._caches = CacheFolders(parts.paths, parts.records)
        self._usage = CacheUsage(parts, self._caches)
        self._turns = Turns()
        self._lent = LentAgents()

    async def build(
        self,
        request: BuildRequest,
        chunks: AsyncIterator[bytes],
        watcher: BuildWatcher | None = None,
        client: BuildClient | None = None,
        result: BuildResult | None = None,
    ) -> AsyncGenerator[Report, None]:
        """docker's progress objects. Raises HostvmError at any point, with no image and no tag made.

        `client` is asked for what its steps need; without it the request has it. Who gives a `result` closes it.

        Closing the iterator ends the build: what runs is killed, what is half-made is dropped.
        """
        reports = Reports()
        ways = _Ways(reports, watcher or BuildWatcher(), client or self._client_of(request), result)
        work = asyncio.create_task(self._work(request, chunks, ways))
        work.add_done_callback(lambda _task: reports.end())
        try:
            while (report := await reports.take()) is not None:
                yield report
            await work
        finally:
            work.cancel()
            await asyncio.wait([work])

    async def build_from_cache(
        self, request: BuildRequest, chunks: AsyncIterator[bytes], result: BuildResult | None = None
    ) -> list[Report]:
        """All reports of a build that needs no more than the cache has, at its end.

        `chunks` have of the context only what the engine itself reads; `request.context_key` tells which one it is.
        Raises NotCached for whatever is in the way: it is said once the whole context has come.
        """
        reports = Reports()
        ways = _Ways(reports, BuildWatcher(), self._client_of(request), result)
        try:
            await self._work(replace(request, cached_only=True), chunks, ways)
        except HostvmError as error:
            raise NotCached from error
        return reports.take_all()

    async def lend_agent(self, token: str, line: Duplex) -> None:
        """A connection to the ssh agent of a build whose request has the token; returns when it has served."""
        await self._lent.lend(token, line)

    async def list_cache(self) -> tuple[CacheRecord, ...]:
        """A record for each layer that the cache knows and for each cache mount."""
        return await self._usage.listed()

    async def prune(self, request: PruneRequest) -> tuple[tuple[CacheRecord, ...], int]:
        """Forget what may go of the build cache: its records that are gone, and the bytes that are free again."""
        return await self._usage.prune(request)

    def open_result(self) -> BuildResult:
        """For a build to come; who gets it closes it."""
        return BuildResult(self._parts)

    def _client_of(self, request: BuildRequest) -> BuildClient:
        return CommandLine(request.credentials, request.agents, self._lent)

    async def _work(self, request: BuildRequest, chunks: AsyncIterator[bytes], ways: _Ways) -> None:
        names, platform = _parse_names(request.tags), parse_platform(request.platform)
        resources, _warnings = settle_limits(request.resources, self._parts.host.support)
        request = replace(request, resources=resources)
        body = await read_body(self._parts, request, chunks, ways.client)
        with ExitStack() as undo:
            undo.callback(body.close)
            session = self._open_session(request, body, platform, ways)
            self._usage.sessions.append(session)
            undo.callback(self._usage.sessions.remove, session)
            try:
                snapshot = await self._run_stages(session)
                if _is_nothing(snapshot) and not request.by_buildkit:
                    raise InvalidArgument("No image was generated. Is your Dockerfile empty?")
                if request.squash:
                    snapshot = await squash(session, snapshot)
                identity = await self._keep(session, snapshot, names)
                if ways.result is not None:
                    ways.result.take(self._config_of(identity, session, snapshot))
            except BaseException:
                if not request.cached_only:
                    await self._keep_layers(session)
                raise
            finally:
                await asyncio.to_thread(session.staging.close)
        self._tell(session, identity, names, ways.reports)

    def _open_session(self, request: BuildRequest, body: BuildBody, platform: Platform, ways: _Ways) -> BuildSession:
        platforms = Platforms(str(host_platform()), str(platform))
        dockerfile = parse_dockerfile(body.dockerfile, request.dockerfile)
        plan = self._plan(request, dockerfile, body.named, platforms)
        ways.watcher.planned(plan)
        numbers = number_steps(plan.stages, len(dockerfile.arguments))
        output = BuildOutput(ways.reports.put, numbers.first, request.quiet)
        _say_beginning(output, dockerfile, numbers)
        return BuildSession(
            parts=self._parts,
            request=request,
            plan=plan,
            platform=platform,
            platforms=platforms,
            context=body.context,
            named=body.named,
            secrets=body.secrets,
            staging=self._parts.layers.stage(),
            cache=self._parts.build_cache,
            output=output,
            reports=ways.reports,
            sources=self._find_sources(request.cache_from),
            done={},
            numbers=numbers,
            caches=self._caches,
            watcher=ways.watcher,
            client=ways.client,
            turns=self._turns,
            running=self._usage.sessions,
        )

    def _plan(
        self, request: BuildRequest, dockerfile: Dockerfile, sent: Iterable[str], platforms: Platforms
    ) -> BuildPlan:
        """`sent`: the names of the further contexts that came with the request."""
        given = {name: value for name, value in request.arguments.items() if value is not None}
        contexts = frozenset((*sent, *request.named_images, *request.named_remotes))
        find_triggers = partial(self._find_triggers, request)
        plan = plan_build(dockerfile, request.target, given, platforms, contexts, find_triggers)
        return with_labels(plan, request.labels)

    def _find_triggers(self, request: BuildRequest, name: str) -> tuple[str, ...]:
        """ONBUILD of an image, or of a context that is one; none of what has to be pulled first."""
        image = request.named_images.get(name, name)
        known = [request.unstored[image]] if image in request.unstored else self._find_sources([image])
        return known[0].config.on_build if known else ()

    def _find_sources(self, names: Sequence[str]) -> tuple[ImageConfig, ...]:
        """The images of these names that are here; for --cache-from the others give nothing, as with docker."""
        found = []
        for name in names:
            try:
                found.append(self._parts.images.find(name).config)
            except (NotFound, InvalidArgument):
                continue
        return tuple(found)

    async def _run_stages(self, session: BuildSession) -> Snapshot:
        """All of them, or the error of the first that failed; no task is left behind."""
        stages = {planned.stage.index: planned for planned in session.plan.stages}
        for index, planned in stages.items():
            session.done[index] = asyncio.create_task(StageBuild(session, planned).run())
        try:
            await asyncio.wait(session.done.values(), return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in session.done.values():
                task.cancel()
            for pulling in session.pulls.values():
                pulling.cancel()
            await asyncio.gather(*session.done.values(), *session.pulls.values(), return_exceptions=True)
        for index, task in session.done.items():
            if not task.cancelled() and task.exception() is not None:
                session.output.fail(index)
                task.result()
        return session.done[next(reversed(stages))].result()

    async def _keep(self, session: BuildSession, snapshot: Snapshot, names: tuple[Reference, ...]) -> ImageId:
        """The image with its names, durable; and what the cache has learnt. For files the latter is enough."""
        images = self._parts.images
        failpoint("build.image.before")
        config = _encode(session, snapshot)
        identity = ImageId(snapshot.parent if _is_base(snapshot) else digest_of(config))
        if session.request.for_files:
            await self._keep_layers(session)
            return identity
        if images.has(identity):
            for name in names:
                if images.names.find(name) != identity:
                    images.tag(identity, name.familiar)
            await self._keep_layers(session)
            return identity
        for diff_id in snapshot.diff_ids:
            session.staging.reuse(diff_id)
        await images.add(NewImage(config, names, parent=snapshot.parent), session.staging)
        self._remember(session)
        failpoint("build.image.after")
        return identity

    def _config_of(self, identity: ImageId, session: BuildSession, snapshot: Snapshot) -> ImageConfig:
        """Of a build for files there may be no image."""
        images = self._parts.images
        return images.get(identity).config if images.has(identity) else parse_config(_encode(session, snapshot))

    async def _keep_layers(self, session: BuildSession) -> None:
        """For the cache alone."""
        if any(session.cache.find(key) != step for key, step in session.steps.items()):
            await asyncio.to_thread(session.staging.publish)
            with self._parts.records.transaction():
                session.staging.record()
            session.staging.recorded()
        self._remember(session)

    def _remember(self, session: BuildSession) -> None:
        if session.steps or session.digests:
            session.cache.remember(session.steps, session.digests)

    def _tell(
        self,
        session: BuildSession,
        identity: ImageId,
        names: tuple[Reference, ...],
        reports: Reports,
    ) -> None:
        if session.request.quiet:
            reports.put({"stream": f"{identity}\n"})
        else:
            for report in _closing_words(session, identity, names):
                reports.put(report)
        labels = self._parts.images.get(identity).config.config.labels if names else {}
        for name in names:
            self._parts.events.publish("image", "tag", identity, {**labels, "name": name.familiar})


def _say_beginning(output: BuildOutput, dockerfile: Dockerfile, numbers: StepNumbers) -> None:
    """What is known before the first stage begins."""
    first = next(iter(numbers.first))
    for warning in _warnings(dockerfile):
        output.complain(first, warning)
    for number, argument in enumerate(dockerfile.arguments, 1):
        output.say(first, f"Step {number}/{numbers.total} : {argument.line.source}\n")


def _warnings(dockerfile: Dockerfile) -> list[str]:
    found = [line.source for line in dockerfile.lines() if line.gaps]
    warnings = [f"[WARNING]: Empty continuation line found in: {source}\n" for source in found]
    return [*warnings, "[WARNING]: Empty continuation lines will become errors in a future release.\n"] if found else []


def _closing_words(session: BuildSession, identity: ImageId, names: tuple[Reference, ...]) -> list[Report]:
    given = {name for name in session.request.arguments if name not in PROXIES}
    unused = sorted(given - session.known_arguments() - session.platforms.arguments().keys())
    words: list[Report] = []
    if unused:
        words.append({"stream": f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed\n"})
    words.append({"aux": {"ID": identity}})
    words.append({"stream": f"Successfully built {identity.removeprefix('sha256:')[:12]}\n"})
    return words + [{"stream": f"Successfully tagged {name.familiar}\n"} for name in names]


def _parse_names(tags: Sequence[str]) -> tuple[Reference, ...]:
    names = [parse_reference(tag).with_default_tag() for tag in tags if tag]
    for name in names:
        if name.digest:
            raise InvalidArgument("build tag cannot contain a digest")
    return tuple(dict.fromkeys(names))


def _is_nothing(snapshot: Snapshot) -> bool:
    return snapshot.key.startswith(SCRATCH)


def _is_base(snapshot: Snapshot) -> bool:
    """Nothing was done to the image that it begins with."""
    return bool(snapshot.parent) and snapshot.key == snapshot.parent


def _encode(session: BuildSession, snapshot: Snapshot) -> bytes:
    """With its origin as by dockerd's classic builder: compose v1 looks there for the volumes of the image."""
    config = replace(snapshot.state.config, image="")
    return encode_config(
        session.platform,
        config,
        snapshot.diff_ids,
        snapshot.history,
        snapshot.created,
        snapshot.state.author,
        origin=Origin(config=replace(config, command=snapshot.words)),
    )
