"""/networks: what there is. Making them is not supported yet."""

from __future__ import annotations

from guest_agent.api.contract import Engine, NetworkView
from guest_agent.api.messages import Answer, json_response
from guest_agent.api.query import Filters
from guest_agent.api.render_config import Json
from guest_agent.api.router import Call, Route
from guest_agent.api.times import rfc3339
from guest_agent.wire.errors import Unsupported

_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
_BUILTIN = frozenset({"bridge", "host", "none"})


class NetworksResource:
    def __init__(self, engine: Engine) -> None:
        self._networks = engine.networks

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/networks", self.list),
            Route("GET", "/networks/{name}", self.inspect),
            Route("POST", "/networks/create", self.unsupported),
        )

    async def list(self, call: Call) -> Answer:
        filters = call.query.filters(_FILTERS)
        return json_response([render_network(one, False) for one in self._networks.list() if wanted(one, filters)])

    async def inspect(self, call: Call) -> Answer:
        return json_response(render_network(self._networks.find(call.name), True))

    async def unsupported(self, call: Call) -> Answer:
        raise Unsupported("creating networks is not supported", "there are bridge, host and none")


def wanted(network: NetworkView, filters: Filters) -> bool:
    if "name" in filters and not any(part in network.name for part in filters["name"]):
        return False
    if "id" in filters and not any(part in network.id for part in filters["id"]):
        return False
    kind = "builtin" if network.name in _BUILTIN else "custom"
    if not filters.exact("type", kind) or filters.flag("dangling") or "label" in filters:
        return False
    return filters.exact("driver", network.driver) and filters.exact("scope", network.scope)


def render_network(network: NetworkView, with_containers: bool) -> Json:
    """A list leaves the containers out, as dockerd has done since API 1.28."""
    pool = [{"Subnet": network.subnet, "Gateway": network.gateway}] if network.subnet else []
    containers: Json = {}
    for container_id, name, endpoint in network.containers if with_containers else ():
        address = f"{endpoint.address}/{endpoint.prefix_length}" if endpoint.address else ""
        containers[container_id] = {
            "Name": name,
            "EndpointID": endpoint.endpoint_id,
            "MacAddress": endpoint.mac_address,
            "IPv4Address": address,
            "IPv6Address": "",
        }
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created_ns),
        "Scope": network.scope,
        "Driver": network.driver,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": pool},
        "Internal": network.internal,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": containers,
        "Options": dict(network.options),
        "Labels": {},
    }
