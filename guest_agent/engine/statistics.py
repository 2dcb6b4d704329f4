"""`docker stats`: what containers use, at a moment and as it goes on.

One loop looks at all the containers that anybody watches, once a second, in one thread for all of them; it ends with
the last watcher. Whoever reads too slowly misses samples, and holds nothing up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from guest_agent.engine.container import Container
from guest_agent.engine.parts import Parts
from guest_agent.linux.counters import InterfaceCount, read_cpu_time, read_interfaces, read_total_memory
from guest_agent.runtime.usage import ResourceUse, read_usage
from guest_agent.wire.errors import HostvmError
from guest_agent.wire.models import ContainerId

#: Seconds between two samples, as dockerd's.
INTERVAL = 1.0
#: The kernel counts CPU time in hundredths of a second: over less than this no percentage means anything.
_SHORTEST = 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a container; `use` is None where it has no process."""

    id: str
    name: str
    read_ns: int = 0
    use: ResourceUse | None = None
    networks: dict[str, InterfaceCount] = field(default_factory=dict)
    system_cpu: int = 0  #: ns that all CPUs have spent since boot
    cpus: int = 0
    memory_total: int = 0  #: the machine's


class _Watcher:
    """Keeps the newest sample for one reader."""

    def __init__(self) -> None:
        self._newest: Sample | None = None
        self._arrived = asyncio.Event()

    def put(self, sample: Sample | None) -> None:
        """None is the end: the container has been removed."""
        self._newest = sample
        self._arrived.set()

    async def take(self) -> Sample | None:
        await self._arrived.wait()
        self._arrived.clear()
        return self._newest


class Statistics:
    """The statistics verbs of the engine."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._watchers: defaultdict[ContainerId, set[_Watcher]] = defaultdict(set)
        self._loop: asyncio.Task[None] | None = None
        self._memory_total = read_total_memory()
        self._cpus = len(os.sched_getaffinity(0))

    async def sample(self, ref: str) -> Sample:
        """The present moment."""
        container = self._parts.table.find(ref)
        (sample,) = await asyncio.to_thread(self._look, [container])
        return sample

    async def two_samples(self, ref: str) -> tuple[Sample, Sample]:
        """Two of them an interval apart: what a percentage takes. At once where there is no process."""
        first = await self.sample(ref)
        if first.use is None:
            return first, first
        await asyncio.sleep(INTERVAL)
        try:
            return first, await self.sample(first.id)
        except HostvmError:  # removed meanwhile
            return first, Sample(first.id, first.name)

    async def stream(self, ref: str) -> AsyncIterator[Sample]:
        """One now and one each second, until the container is removed."""
        first = await self.sample(ref)
        yield first
        with self._watching(ContainerId(first.id)) as watcher:
            while (sample := await watcher.take()) is not None:
                if sample.read_ns == 0 or sample.read_ns - first.read_ns >= _SHORTEST * 1e9:
                    yield sample

    @contextlib.contextmanager
    def _watching(self, identity: ContainerId) -> Iterator[_Watcher]:
        watcher = _Watcher()
        self._watchers[identity].add(watcher)
        if self._loop is None:
            self._loop = self._parts.tasks.start(self._run(), "statistics")
        try:
            yield watcher
        finally:
            self._watchers[identity].discard(watcher)
            if not self._watchers[identity]:
                del self._watchers[identity]

    async def _run(self) -> None:
        try:
            while self._watchers:
                await asyncio.sleep(INTERVAL)
                await self._look_and_tell()
        finally:
            self._loop = None

    async def _look_and_tell(self) -> None:
        present = {identity: self._parts.table.get(identity) for identity in self._watchers}
        for identity, container in present.items():
            if container is None:
                self._tell(identity, None)
        for sample in await asyncio.to_thread(self._look, [one for one in present.values() if one is not None]):
            self._tell(ContainerId(sample.id), sample)

    def _tell(self, identity: ContainerId, sample: Sample | None) -> None:
        for watcher in self._watchers.get(identity, ()):
            watcher.put(sample)

    def _look(self, containers: list[Container]) -> list[Sample]:
        """Any thread."""
        system_cpu = read_cpu_time()
        return [self._look_at(container, system_cpu) for container in containers]

    def _look_at(self, container: Container, system_cpu: int) -> Sample:
        name = f"/{container.name}"
        if not container.running:
            return Sample(container.id, name)
        shares_host = container.host_config.network_mode == "host"
        return Sample(
            id=container.id,
            name=name,
            read_ns=time.time_ns(),
            use=read_usage(self._parts.host.cgroups, container.group),
            networks={} if shares_host else read_interfaces(container.state.pid),
            system_cpu=system_cpu,
            cpus=self._cpus,
            memory_total=self._memory_total,
        )
