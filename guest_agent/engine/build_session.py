"""What the steps of one build share: the plan, contexts, layers in the making, what the cache shall learn."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field

from guest_agent.build.cache import BuildCache
from guest_agent.build.instructions import Stage
from guest_agent.build.numbering import StepNumbers
from guest_agent.build.planning import BuildPlan
from guest_agent.build.snapshots import Snapshot, StepResult
from guest_agent.build.trees import ContextTree, Tree
from guest_agent.build.variables import Platforms
from guest_agent.engine.build_caches import CacheFolders
from guest_agent.engine.build_client import BuildClient
from guest_agent.engine.build_output import BuildOutput
from guest_agent.engine.build_reports import Reports
from guest_agent.engine.build_requests import BuildRequest, NotCached
from guest_agent.engine.build_turns import Turns
from guest_agent.engine.build_watching import BuildWatcher
from guest_agent.engine.parts import Parts
from guest_agent.images.platforms import Platform
from guest_agent.layers.store import Staging
from guest_agent.wire.models import DiffId, ImageConfig


@dataclass(slots=True, eq=False)
class BuildSession:
    """One build. `done` has the task of each stage of the plan."""

    parts: Parts
    request: BuildRequest
    plan: BuildPlan
    platform: Platform
    platforms: Platforms
    context: Tree
    named: Mapping[str, ContextTree]
    secrets: Mapping[str, bytes]
    staging: Staging
    cache: BuildCache
    output: BuildOutput
    reports: Reports
    sources: tuple[ImageConfig, ...]  #: --cache-from
    done: dict[int, asyncio.Task[Snapshot]]
    numbers: StepNumbers
    caches: CacheFolders
    watcher: BuildWatcher
    client: BuildClient
    turns: Turns
    running: Sequence[BuildSession]  #: all builds, this one included
    steps: dict[str, StepResult] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    pulls: dict[str, asyncio.Task[ImageConfig]] = field(default_factory=dict)
    emptied: set[str] = field(default_factory=set)  #: names of cache mounts
    #: As many steps at once as there are processors; two where there is one, since a step often waits for the network.
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(max(2, os.cpu_count() or 1)))

    async def secret(self, identity: str) -> bytes | None:
        """One that came with the request, or that the client has; None where there is none."""
        sent = self.secrets.get(identity)
        return await self.client.secret(identity) if sent is None else sent

    def turn(self, key: str, stage: Stage) -> AbstractAsyncContextManager[None]:
        """Alone with a step, among all builds; one that is made in any case waits for nobody."""
        return nullcontext() if self._starts_over(stage) else self.turns.take(key)

    def find_step(self, key: str, stage: Stage) -> StepResult | None:
        """What an earlier build, another stage of this one, or one that runs beside it came to."""
        request = self.request
        if self._starts_over(stage) or (request.cache_from and not request.own_cache_too):
            return None
        found = self.steps.get(key) or self.cache.find(key) or self._find_beside(key)
        if found is not None and found.diff_id and not self.staging.reuse(DiffId(found.diff_id)):
            return None
        return found

    def known_arguments(self) -> frozenset[str]:
        """Once all stages are done: what an ARG declares, one that came as a base's trigger included."""
        declared = (stage.result().state.arguments.declared for stage in self.done.values())
        return self.plan.known_arguments.union(*declared)

    def _find_beside(self, key: str) -> StepResult | None:
        return next((one.steps[key] for one in self.running if key in one.steps), None)

    def find_in_images(self, snapshot: Snapshot, created_by: str, stage: Stage) -> StepResult | None:
        """--cache-from: an image that began as this stage did, and went on with this very step."""
        if self._starts_over(stage):
            return None
        for image in self.sources:
            found = _next_of(image, snapshot, created_by)
            if found is not None and (not found.diff_id or self.staging.reuse(DiffId(found.diff_id))):
                return found
        return None

    def _starts_over(self, stage: Stage) -> bool:
        return self.request.no_cache or stage.name in self.request.no_cache_stages

    async def empty_caches(self, names: Iterable[str], stage: Stage) -> None:
        """As BuildKit does: where nothing is taken from the cache its mounts begin empty, too, each once in a build."""
        if self._starts_over(stage):
            unseen = frozenset(names) - self.emptied
            self.emptied |= unseen
            await self.caches.prune(unseen)

    def check_may_work(self) -> None:
        """Before anything that a cached build does without. Raises NotCached."""
        if self.request.cached_only:
            raise NotCached

    def find_digest(self, key: str) -> str:
        return self.digests.get(key) or self.cache.source_digest(key)


def _next_of(image: ImageConfig, snapshot: Snapshot, created_by: str) -> StepResult | None:
    place = len(snapshot.history)
    before = tuple(entry.created_by for entry in image.history[:place])
    if len(image.history) <= place or before != tuple(entry.created_by for entry in snapshot.history):
        return None
    if image.diff_ids[: len(snapshot.diff_ids)] != snapshot.diff_ids:
        return None
    entry = image.history[place]
    if entry.created_by != created_by:
        return None
    if entry.empty_layer:
        return StepResult(entry.created)
    layers = image.diff_ids[len(snapshot.diff_ids) :]
    return StepResult(entry.created, layers[0]) if layers else None
