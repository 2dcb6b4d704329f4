"""/events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from guest_agent.api.contract import Engine
from guest_agent.api.messages import TYPE_JSON, Answer, Stream, render_json
from guest_agent.api.query import Filters
from guest_agent.api.render_config import Json
from guest_agent.api.router import Call, Route
from guest_agent.api.streams import closing
from guest_agent.api.times import SECOND
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import Event

_FILTERS = frozenset(
    "config container daemon event image label network node plugin scope secret service type volume".split()
)
_ACTORS = ("container", "daemon", "image", "network", "volume", "config", "node", "plugin", "secret", "service")


class EventsResource:
    def __init__(self, engine: Engine) -> None:
        self._events = engine.events

    def routes(self) -> tuple[Route, ...]:
        return (Route("GET", "/events", self.stream),)

    async def stream(self, call: Call) -> Answer:
        query = call.query
        since, until = query.timestamp("since"), query.timestamp("until")
        if since and until and until < since:
            raise InvalidArgument(
                f"`since` time ({query.text('since')}) cannot be after `until` time ({query.text('until')})"
            )
        filters = query.filters(_FILTERS)
        return Stream(_body(self._events.subscribe(since, until), filters), content_type=TYPE_JSON)


async def _body(source: AsyncIterator[Event], filters: Filters) -> AsyncGenerator[bytes, None]:
    async with closing(source) as events:
        async for event in events:
            if wanted(event, filters):
                yield render_json(render_event(event))


def wanted(event: Event, filters: Filters) -> bool:
    if not filters.exact("type", event.type) or not filters.exact("scope", "local"):
        return False
    if "event" in filters and not _action_wanted(event.action, filters["event"]):
        return False
    if not filters.labels(event.attributes):
        return False
    asked = [name for name in _ACTORS if name in filters]
    return not asked or any(_actor_wanted(event, name, filters[name]) for name in asked)


def _action_wanted(action: str, wanted_actions: tuple[str, ...]) -> bool:
    """ "exec_start: ls" and "health_status: healthy" are also found by what stands before the colon."""
    return action in wanted_actions or action.partition(":")[0] in wanted_actions


def _actor_wanted(event: Event, kind: str, names: tuple[str, ...]) -> bool:
    """By id, its prefix, or name. Events of containers also answer to `image`, by the container's."""
    if kind == "image" and event.type == "container":
        return _image_wanted(event.attributes.get("image", ""), names)
    if event.type != kind:
        return False
    if kind == "image" and any(_image_wanted(name, names) for name in (event.actor_id, _name(event))):
        return True
    return any(event.actor_id.startswith(name) or _name(event) == name.removeprefix("/") for name in names)


def _name(event: Event) -> str:
    return event.attributes.get("name", "")


def _image_wanted(image: str, names: tuple[str, ...]) -> bool:
    """With or without its tag."""
    tail = image.rpartition("/")[2]
    bare = image[: len(image) - len(tail)] + tail.partition(":")[0]
    return bool(image) and (image in names or bare in names)


def render_event(event: Event) -> Json:
    """`status`, `id` and `from` are for clients older than 1.22's `Actor`; containers and images only."""
    rendered: Json = {}
    if event.type in ("container", "image"):
        rendered |= {"status": event.action, "id": event.actor_id}
        if event.type == "container":
            rendered["from"] = event.attributes.get("image", "")
    return rendered | {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.actor_id, "Attributes": dict(event.attributes)},
        "scope": "local",
        "time": event.time_ns // SECOND,
        "timeNano": event.time_ns,
    }
