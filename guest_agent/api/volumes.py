"""/volumes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from guest_agent.api.contract import Engine
from guest_agent.api.fields import read_fields
from guest_agent.api.filters import Filters
from guest_agent.api.messages import Answer, json_response, no_content
from guest_agent.api.query import Query
from guest_agent.api.render_config import Json
from guest_agent.api.router import Call, Route
from guest_agent.engine.container import Container
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.go_numbers import parse_truth
from guest_agent.wire.mounts import ANONYMOUS_LABEL, Volume
from guest_agent.wire.times import rfc3339

_FILTERS = frozenset({"dangling", "driver", "label", "name"})
_PRUNE_FILTERS = frozenset({"all", "label", "label!"})


class VolumesResource:
    def __init__(self, engine: Engine) -> None:
        self._volumes = engine.volumes
        self._containers = engine.containers

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/volumes", self.list),
            Route("POST", "/volumes/create", self.create, durable=True),
            Route("POST", "/volumes/prune", self.prune, durable=True),
            Route("GET", "/volumes/{name}", self.inspect),
            Route("DELETE", "/volumes/{name}", self.remove, durable=True),
        )

    async def list(self, call: Call) -> Answer:
        filters = _read_filters(call.query)
        dangling = filters.flag("dangling")
        users = count_users(self._containers.list(True)) if dangling is not None else Counter()
        found = [
            render_volume(volume)
            for volume in self._volumes.list()
            if wanted(volume, filters) and (dangling is None or dangling != bool(users[volume.name]))
        ]
        return json_response({"Volumes": found, "Warnings": None})

    async def create(self, call: Call) -> Answer:
        body = read_fields(await call.request.json())
        driver = body.text("Driver")
        volume = self._volumes.create(body.text("Name"), driver, body.text_map("DriverOpts"), body.text_map("Labels"))
        return json_response(render_volume(volume), 201)

    async def inspect(self, call: Call) -> Answer:
        return json_response(render_volume(self._volumes.find(call.name)))

    async def remove(self, call: Call) -> Answer:
        self._volumes.remove(call.name, call.query.flag("force"))
        return no_content()

    async def prune(self, call: Call) -> Answer:
        """Anonymous volumes; with `all`, named ones as well (API 1.42)."""
        filters = call.query.filters(_PRUNE_FILTERS)
        everything = _wants_all(filters) or call.version < (1, 42)
        chosen = [
            volume
            for volume in self._volumes.list()
            if (everything or volume.anonymous or ANONYMOUS_LABEL in volume.labels) and filters.labels(volume.labels)
        ]
        pruned = await self._volumes.prune(chosen)
        return json_response({"VolumesDeleted": list(pruned.names), "SpaceReclaimed": pruned.reclaimed})


def count_users(containers: Iterable[Container]) -> Counter[str]:
    """Name of a volume -> how many of the containers mount it."""
    return Counter(name for one in containers for name in {point.name for point in one.mount_points if point.name})


def _read_filters(query: Query) -> Filters:
    try:
        parsed = query.filters()
    except InvalidArgument as error:
        raise InvalidArgument(f"error reading volume filters: {error.message}") from error
    return parsed.only(_FILTERS)


def _wants_all(filters: Filters) -> bool:
    if len(filters["all"]) > 1:
        raise InvalidArgument(f"invalid filter 'all=[{' '.join(filters['all'])}]': only one value is expected")
    try:
        return "all" in filters and parse_truth(filters["all"][0])
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid filter 'all': {error.message}") from error


def wanted(volume: Volume, filters: Filters) -> bool:
    return (
        filters.matches("name", volume.name)
        and filters.exact("driver", volume.driver)
        and filters.labels(volume.labels)
    )


def render_volume(volume: Volume) -> Json:
    return {
        "CreatedAt": rfc3339(volume.created_ns),
        "Driver": volume.driver,
        "Labels": dict(volume.labels) or None,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": dict(volume.options) or None,
        "Scope": "local",
    }
