"""A build's steps -> BuildKit's status messages, for the one who watches the job.

A vertex is a line of the client's display. It has no state at the client's: each message has all of it again. Only FROM
and what makes a layer is shown, numbered within its stage, as BuildKit does; what a base image's triggers do counts as
the image's.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from guest_agent.build.instructions import Copy, Run, WorkingDir
from guest_agent.build.planning import SCRATCH, BuildPlan, PlannedStage
from guest_agent.buildkit.messages import (
    StatusResponse,
    Vertex,
    VertexLog,
    VertexStatus,
    timestamp,
)
from guest_agent.engine.build_watching import BuildWatcher
from guest_agent.images.reference import parse_reference
from guest_agent.wire.errors import Conflict, HostvmError
from guest_agent.wire.models import ImageId

_LONGEST_NAME = 120
#: Messages that wait; a command's output comes in pieces of up to 64 KiB.
_MOST = 256


class Progress(BuildWatcher):
    """What was told waits for the one who watches. As long as nobody does, the oldest is forgotten beyond `_MOST`."""

    def __init__(self, job: str, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._job = job
        self._now_ns = now_ns
        self._told: deque[StatusResponse] = deque()
        self._watched = False
        self._changed, self._taken = asyncio.Event(), asyncio.Event()
        self._over = False
        self._vertices: dict[str, Vertex] = {}
        self._culprit = ""
        self.failed_line = 0  #: of the Dockerfile; 0 = not known
        self.image = ""
        self.image_was_there = False
        self._steps: dict[tuple[int, int], str] = {}

    # -- who watches

    async def watch(self) -> AsyncGenerator[StatusResponse, None]:
        """Until the job is over. Raises Conflict beside another one: each would get a part of it."""
        if self._watched:
            raise Conflict("the job's status is watched already")
        self._watched = True
        try:
            while True:
                while self._told:
                    yield self._told.popleft()
                    self._taken.set()
                if self._over:
                    return
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._watched = False
            self._taken.set()

    async def room(self) -> None:
        """Until the one who watches has taken enough: a client that doesn't read makes its build wait."""
        while self._watched and len(self._told) >= _MOST:
            self._taken.clear()
            await self._taken.wait()

    def end(self) -> None:
        self._over = True
        self._changed.set()

    # -- what happens

    @contextmanager
    def shown(self, name: str) -> Iterator[str]:
        """A line for as long as the block runs, which fails with it. Its digest."""
        digest = self._digest(name)
        self._begin(digest, name)
        try:
            yield digest
        except HostvmError as error:
            self._finish(digest, error=error.message)
            raise
        self._finish(digest)

    def part(self, digest: str, name: str, size: int = 0) -> None:
        """Something that was done in a line."""
        now = timestamp(self._now_ns())
        status = VertexStatus(name, digest, name, size, timestamp=now, started=now, completed=now)
        self._tell(StatusResponse(statuses=(status,)))

    def give_up(self, message: str) -> None:
        """Whatever runs ends with it; what isn't to blame is shown as cancelled."""
        for digest, vertex in self._vertices.items():
            if vertex.started is not None and vertex.completed is None:
                self._finish(digest, error=message if self._culprit in ("", digest) else "context canceled")

    # -- BuildWatcher

    def planned(self, plan: BuildPlan) -> None:
        """Every step's line, none of them begun."""
        vertices = []
        for planned in plan.stages:
            for place, name in _step_names(planned, len(plan.stages) > 1):
                digest = self._digest(f"{planned.stage.index} {place} {name}")
                self._steps[planned.stage.index, place] = digest
                self._vertices[digest] = Vertex(digest, name=name)
                vertices.append(self._vertices[digest])
        self._tell(StatusResponse(tuple(vertices)))

    def began(self, stage: int, place: int) -> None:
        digest = self._steps.get((stage, place))
        if digest is not None and self._vertices[digest].started is None:
            self._begin(digest, self._vertices[digest].name)

    def said(self, stage: int, place: int, stream: int, text: str) -> None:
        digest = self._steps.get((stage, place))
        if digest is not None:
            data = text.encode("utf-8", "surrogateescape")
            self._tell(StatusResponse(logs=(VertexLog(digest, timestamp(self._now_ns()), stream, data),)))

    def cached(self, stage: int, place: int) -> None:
        digest = self._steps.get((stage, place))
        if digest is not None and place:
            self._put(replace(self._vertices[digest], cached=True))

    def failed(self, stage: int, place: int, line: int) -> None:
        if not self.failed_line:
            self.failed_line, self._culprit = line, self._steps.get((stage, place), "")

    def kept(self, image: ImageId, was_there: bool) -> None:
        self.image, self.image_was_there = image, was_there

    def ended(self, stage: int, place: int) -> None:
        digest = self._steps.get((stage, place))
        if digest is not None:
            self._finish(digest)

    # -- inside

    def _begin(self, digest: str, name: str) -> None:
        self._put(Vertex(digest, name=name, started=timestamp(self._now_ns())))

    def _finish(self, digest: str, error: str = "") -> None:
        self._put(replace(self._vertices[digest], completed=timestamp(self._now_ns()), error=error))

    def _digest(self, name: str) -> str:
        """Of this job alone: clients that show several at once take the same digest for the same work."""
        return "sha256:" + hashlib.sha256(f"{self._job} {name}".encode("utf-8", "surrogateescape")).hexdigest()

    def _put(self, vertex: Vertex) -> None:
        self._vertices[vertex.digest] = vertex
        self._tell(StatusResponse((vertex,)))

    def _tell(self, response: StatusResponse) -> None:
        self._told.append(response)
        if not self._watched and len(self._told) > _MOST:
            self._told.popleft()
        self._changed.set()


def _step_names(planned: PlannedStage, several: bool) -> Iterator[tuple[int, str]]:
    """Place in the stage, and what is shown. Only an image is a step to begin with."""
    stage, image = planned.stage, planned.base.image
    label = (stage.name or f"stage-{stage.index}") + " " if several else ""
    shown = [(0, f"FROM {canonical(image)}")] if image and image != SCRATCH else []
    shown += [
        (place, " ".join(one.line.source.split())[:_LONGEST_NAME])
        for place, one in enumerate(stage.instructions, 1)
        if isinstance(one, Run | Copy | WorkingDir)
    ]
    for number, (place, text) in enumerate(shown, 1):
        yield place, f"[{label}{number}/{len(shown)}] {text}"


def canonical(image: str) -> str:
    """An image's full name; what is none stays as it is."""
    try:
        return parse_reference(image).with_default_tag().canonical
    except HostvmError:
        return image
