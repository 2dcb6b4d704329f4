"""/events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable

from guest_agent.api.contract import Engine
from guest_agent.api.filters import Filters
from guest_agent.api.messages import TYPE_JSON, Answer, Stream, render_json
from guest_agent.api.query import Query
from guest_agent.api.render_config import Json
from guest_agent.api.router import Call, Route
from guest_agent.api.streams import closing
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import Event
from guest_agent.wire.times import SECOND

#: Filters that name whom it happened to.
_ACTORS = ("container", "daemon", "network", "volume", "config", "node", "plugin", "secret", "service")
#: Actions that go on behind a colon.
_OPEN_ENDED = frozenset({"health_status", "exec_create", "exec_start"})
#: Texts that are kept: as many as the bus remembers events.
_KEPT = 256


class EventsResource:
    def __init__(self, engine: Engine) -> None:
        self._events = engine.events
        self._texts = _Texts()

    def routes(self) -> tuple[Route, ...]:
        return (Route("GET", "/events", self.stream),)

    async def stream(self, call: Call) -> Answer:
        query = call.query
        since, until = _moment(query, "since"), _moment(query, "until")
        if since and until and until < since:
            raise InvalidArgument(
                f"`since` time ({query.text('since')}) cannot be after `until` time ({query.text('until')})"
            )
        filters = query.filters()
        return Stream(_body(self._events.subscribe(since, until), filters, self._texts.of), content_type=TYPE_JSON)


class _Texts:
    """Each event is rendered once for all who listen, now or later."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Event, bytes]] = {}

    def of(self, event: Event) -> bytes:
        kept = self._kept.get(event.time_ns)
        if kept is not None and kept[0] is event:
            return kept[1]
        text = render_json(render_event(event))
        self._kept[event.time_ns] = event, text
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return text


def _moment(query: Query, name: str) -> int:
    """The epoch itself is a time, too: everything lies behind it."""
    return query.timestamp(name) or (1 if query.text(name) else 0)


async def _body(
    source: AsyncIterator[Event], filters: Filters, render: Callable[[Event], bytes]
) -> AsyncGenerator[bytes, None]:
    async with closing(source) as events:
        async for event in events:
            if wanted(event, filters):
                yield render(event)


def wanted(event: Event, filters: Filters) -> bool:
    """Every kind of filter holds by one of its values (moby, daemon/events/filter.go); unknown kinds are ignored."""
    if not filters:
        return True
    return (
        _action_wanted(event.action, filters)
        and filters.exact("type", event.type)
        and filters.exact("scope", "local")
        and all(_actor_wanted(event, filters[name]) for name in _ACTORS if name in filters)
        and ("image" not in filters or _image_wanted(event, filters["image"]))
        and filters.labels(event.attributes)
    )


def _action_wanted(action: str, filters: Filters) -> bool:
    """ "exec_start: ls" and "health_status: healthy" are found by their beginning, once one of these is asked for."""
    if _OPEN_ENDED.intersection(filters["event"]):
        return action.startswith(filters["event"])
    return filters.exact("event", action)


def _actor_wanted(event: Event, beginnings: tuple[str, ...]) -> bool:
    """By the beginning of id or name."""
    return event.actor_id.startswith(beginnings) or event.attributes.get("name", "").startswith(beginnings)


def _image_wanted(event: Event, names: tuple[str, ...]) -> bool:
    """The image itself, and containers of it; with or without its tag."""
    image = event.attributes.get("name" if event.type == "image" else "image", "")
    return any(name in names for name in (event.actor_id, image, _bare(event.actor_id), _bare(image)) if name)


def _bare(image: str) -> str:
    """The familiar name without tag and digest."""
    head, slash, tail = image.partition("@")[0].removeprefix("docker.io/").removeprefix("library/").rpartition("/")
    return head + slash + tail.partition(":")[0]


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
