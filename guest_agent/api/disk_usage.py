"""/system/df: what images, containers and volumes take on the disk; /hostvm/check: whether it is as it should be."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import asdict

from guest_agent.api.build_cache import render_cache_record
from guest_agent.api.contract import Engine
from guest_agent.api.filters import Filters
from guest_agent.api.image_list import select
from guest_agent.api.messages import TYPE_JSON, Answer, Stream, json_response
from guest_agent.api.render_config import Json
from guest_agent.api.render_container import render_listed as render_container
from guest_agent.api.render_container import shown_image
from guest_agent.api.render_image import render_listed as render_image
from guest_agent.api.render_image import shared_sizes
from guest_agent.api.router import Call, Route
from guest_agent.api.streams import closing, progress_stream
from guest_agent.api.volumes import count_users, render_volume
from guest_agent.engine.checking import Checked, Finding
from guest_agent.wire.errors import HostvmError, InvalidArgument, NotFound

_TYPES = frozenset({"container", "image", "volume", "build-cache"})


class DiskUsageResource:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/system/df", self.show),
            Route("POST", "/hostvm/check", self.check),
        )

    async def check(self, call: Call) -> Answer:
        """A stream of {"finding": …}, then {"checked": …}."""
        findings = self._engine.system.check(call.query.flag("repair"))
        return Stream(progress_stream(rendered_findings(findings)), content_type=TYPE_JSON)

    async def show(self, call: Call) -> Answer:
        """What isn't asked for by `type` (API 1.42) is null."""
        wanted = call.query.texts("type") if call.version >= (1, 42) else ()
        for name in wanted:
            if name not in _TYPES:
                raise InvalidArgument(f"unknown object type: {name}")
        chosen = frozenset(wanted) or _TYPES
        cached = await self._engine.builds.list_cache() if "build-cache" in chosen else None
        return json_response(
            {
                "LayersSize": self._engine.images.layers_size() if "image" in chosen else 0,
                "Images": self._images(call) if "image" in chosen else None,
                "Containers": await self._containers() if "container" in chosen else None,
                "Volumes": await self._volumes() if "volume" in chosen else None,
                "BuildCache": None if cached is None else [render_cache_record(one, call.version) for one in cached],
                **({"BuilderSize": sum(one.size for one in cached or ())} if call.version < (1, 42) else {}),
            }
        )

    def _images(self, call: Call) -> list[Json]:
        images = self._engine.images
        used = Counter(container.image_id for container in self._engine.containers.list(True))
        shared = shared_sizes(images.list())
        listed = select(images, Filters({}), False, time.time_ns())
        return [render_image(one, used[one.config.id], shared[one.config.id], call.version) for one in listed]

    async def _containers(self) -> list[Json]:
        rendered = []
        for container in self._engine.containers.list(True):
            try:
                sizes = await self._engine.containers.sizes(container.id)
            except NotFound:
                continue  # it has gone meanwhile
            image = shown_image(container, self._meaning(container.image_name))
            rendered.append(render_container(container, image, time.time_ns(), sizes=sizes))
        return rendered

    def _meaning(self, name: str) -> dict[str, str]:
        """The image that the name stands for at present."""
        try:
            return {name: self._engine.images.find(name).config.id}
        except HostvmError:
            return {}

    async def _volumes(self) -> list[Json]:
        users = count_users(self._engine.containers.list(True))
        sizes = await self._engine.system.volume_sizes()
        return [
            {**render_volume(volume), "UsageData": {"RefCount": users[volume.name], "Size": sizes.get(volume.name, -1)}}
            for volume in self._engine.volumes.list()
            if not volume.options  # with some it is a mount of another file system, which isn't ours to measure
        ]


async def rendered_findings(findings: AsyncIterator[Finding | Checked]) -> AsyncGenerator[dict[str, object], None]:
    async with closing(findings) as source:
        async for finding in source:
            yield {"checked" if isinstance(finding, Checked) else "finding": asdict(finding)}
