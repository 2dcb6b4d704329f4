"""/swarm, /nodes, /services, /tasks, /secrets, /configs: what a dockerd that is in no swarm answers."""

from __future__ import annotations

from guest_agent.api.contract import Engine
from guest_agent.api.fields import read_fields
from guest_agent.api.messages import Answer
from guest_agent.api.query import Query
from guest_agent.api.router import Call, Route
from guest_agent.wire.errors import InvalidArgument, Unavailable, Unsupported

_NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)

#: Each has a list, a `create`, and one of each by id.
_NOUNS = ("services", "secrets", "configs")


class SwarmResource:
    def __init__(self, engine: Engine) -> None:
        pass

    def routes(self) -> tuple[Route, ...]:
        routes = [
            Route("GET", "/swarm", self.refuse),
            Route("GET", "/swarm/unlockkey", self.refuse),
            Route("POST", "/swarm/unlock", self.refuse_with_body),
            Route("POST", "/swarm/update", self.refuse_update),
            Route("POST", "/swarm/leave", self.leave),
            Route("POST", "/swarm/init", self.join),
            Route("POST", "/swarm/join", self.join),
            Route("GET", "/tasks", self.refuse_list),
            Route("GET", "/tasks/{name}/logs", self.refuse),
            Route("GET", "/tasks/{name}", self.refuse),
            Route("GET", "/services/{name}/logs", self.refuse),
            *self._noun("nodes"),
        ]
        for noun in _NOUNS:
            routes += [Route("POST", f"/{noun}/create", self.refuse_with_body), *self._noun(noun)]
        return tuple(routes)

    def _noun(self, noun: str) -> tuple[Route, ...]:
        return (
            Route("GET", f"/{noun}", self.refuse_list),
            Route("POST", f"/{noun}/{{name}}/update", self.refuse_update),
            Route("GET", f"/{noun}/{{name}}", self.refuse),
            Route("DELETE", f"/{noun}/{{name}}", self.refuse),
        )

    async def refuse(self, call: Call) -> Answer:
        raise Unavailable(_NO_MANAGER)

    async def refuse_list(self, call: Call) -> Answer:
        call.query.filters()  # that they can be read at all comes first
        raise Unavailable(_NO_MANAGER)

    async def refuse_with_body(self, call: Call) -> Answer:
        read_fields(await call.request.json())
        raise Unavailable(_NO_MANAGER)

    async def refuse_update(self, call: Call) -> Answer:
        read_fields(await call.request.json())
        above = call.request.path.split("/")[-3 if call.name else -2]
        _check_version(call.query, above.removesuffix("s"))
        raise Unavailable(_NO_MANAGER)

    async def leave(self, call: Call) -> Answer:
        raise Unavailable("This node is not part of a swarm")

    async def join(self, call: Call) -> Answer:
        read_fields(await call.request.json())
        raise Unsupported("swarm mode is not supported")


def _check_version(query: Query, noun: str) -> None:
    text = query.text("version")
    if text.isascii() and text.isdigit():
        return
    if noun in ("secret", "config"):
        raise InvalidArgument(f"invalid {noun} version")
    raise InvalidArgument(f"invalid {noun} version '{text}': strconv.ParseUint: parsing \"{text}\": invalid syntax")
