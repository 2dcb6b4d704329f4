"""/plugins: an engine that has none, and can't be given any."""

from __future__ import annotations

from guest_agent.api.contract import Engine
from guest_agent.api.messages import Answer, json_response
from guest_agent.api.router import Call, Route
from guest_agent.wire.errors import NotFound, Unsupported

_FILTERS = frozenset({"capability", "enabled"})


class PluginsResource:
    def __init__(self, engine: Engine) -> None:
        pass

    def routes(self) -> tuple[Route, ...]:
        one = "/plugins/{name}"
        unknown = ("enable", "disable", "upgrade", "push", "set")
        return (
            Route("GET", "/plugins", self.list),
            Route("GET", "/plugins/privileges", self.install),
            Route("POST", "/plugins/pull", self.install),
            Route("POST", "/plugins/create", self.install),
            Route("GET", f"{one}/json", self.unknown),
            Route("DELETE", one, self.unknown),
            *(Route("POST", f"{one}/{verb}", self.unknown) for verb in unknown),
        )

    async def list(self, call: Call) -> Answer:
        call.query.filters(_FILTERS).flag("enabled")
        return json_response([])

    async def unknown(self, call: Call) -> Answer:
        raise NotFound(f'plugin "{call.name}" not found')

    async def install(self, call: Call) -> Answer:
        raise Unsupported("plugins are not supported")
