"""A build's steps -> BuildKit's status messages, for those who watch the job.

A vertex is a line of the client's display. It has no state at the client's: each message has all of it again. Only FROM
and what makes a layer is shown, numbered within its stage, as BuildKit does; what a base image's triggers do counts as
the image's.
"""

from __future__ import annotations

import hashlib
import time
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
from guest_agent.buildkit.telling import Telling
from guest_agent.engine.build_watching import BuildWatcher
from guest_agent.images.reference import parse_reference
from guest_agent.wire.errors import HostvmError

_LONGEST_NAME = 120


class Progress(BuildWatcher):
    """One job's."""

    def __init__(self, job: str, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._job = job
        self._now_ns = now_ns
        self._telling = Telling()
        self._vertices: dict[str, Vertex] = {}
        self._culprit = ""
        self.failed_line = 0  #: of the Dockerfile; 0 = not known
        self.failed_base = ""  #: the image of the FROM that failed
        self._bases: dict[int, str] = {}
        self._steps: dict[tuple[int, int], str] = {}

    # -- who watches

    def watch(self) -> AsyncGenerator[StatusResponse, None]:
        """All of it, until the job is over."""
        return self._telling.watch()

    async def room(self) -> None:
        """Until those who watch have heard enough."""
        await self._telling.room()

    def end(self) -> None:
        self._telling.end()

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
        self._telling.put(StatusResponse(statuses=(status,)))

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
            self._bases[planned.stage.index] = planned.base.image
            for place, name in _step_names(planned, len(plan.stages) > 1):
                digest = self._digest(f"{planned.stage.index} {place} {name}")
                self._steps[planned.stage.index, place] = digest
                self._vertices[digest] = Vertex(digest, name=name)
                vertices.append(self._vertices[digest])
        self._telling.put(StatusResponse(tuple(vertices)))

    def began(self, stage: int, place: int) -> None:
        digest = self._steps.get((stage, place))
        if digest is not None and self._vertices[digest].started is None:
            self._begin(digest, self._vertices[digest].name)

    def said(self, stage: int, place: int, stream: int, text: str) -> None:
        digest = self._steps.get((stage, place))
        if digest is not None:
            data = text.encode("utf-8", "surrogateescape")
            self._telling.put(StatusResponse(logs=(VertexLog(digest, timestamp(self._now_ns()), stream, data),)))

    def cached(self, stage: int, place: int) -> None:
        digest = self._steps.get((stage, place))
        if digest is not None and place:
            self._put(replace(self._vertices[digest], cached=True))

    def failed(self, stage: int, place: int, line: int) -> None:
        if not self.failed_line:
            self.failed_line, self._culprit = line, self._steps.get((stage, place), "")
            self.failed_base = "" if place else self._bases.get(stage, "")

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
        self._telling.put(StatusResponse((vertex,)))


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
    """An image's full name with its tag; what is none stays as it is."""
    try:
        return parse_reference(image).with_default_tag().canonical
    except HostvmError:
        return image
