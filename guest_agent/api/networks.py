"""/networks."""

from __future__ import annotations

import time

from guest_agent.api.contract import Engine, NetworkView
from guest_agent.api.fields import read_fields
from guest_agent.api.messages import Answer, Response, json_response, no_content
from guest_agent.api.parse_networks import parse_endpoint, parse_network
from guest_agent.api.query import Filters
from guest_agent.api.render_config import Json
from guest_agent.api.router import Call, Route
from guest_agent.api.times import parse_moment
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import Endpoint
from guest_agent.wire.networks import PREDEFINED, AddressRange, Network
from guest_agent.wire.times import rfc3339

_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
_PRUNE_FILTERS = frozenset({"label", "label!", "until"})


class NetworksResource:
    def __init__(self, engine: Engine) -> None:
        self._networks = engine.networks

    def routes(self) -> tuple[Route, ...]:
        one = "/networks/{name}"
        return (
            Route("GET", "/networks", self.list),
            Route("POST", "/networks/create", self.create, durable=True),
            Route("POST", "/networks/prune", self.prune, durable=True),
            Route("GET", one, self.inspect),
            Route("DELETE", one, self.remove, durable=True),
            Route("POST", f"{one}/connect", self.connect, durable=True),
            Route("POST", f"{one}/disconnect", self.disconnect, durable=True),
        )

    async def list(self, call: Call) -> Answer:
        filters = call.query.filters(_FILTERS)
        _check_filters(filters)
        return json_response([render_network(one, False) for one in self._networks.list() if wanted(one, filters)])

    async def create(self, call: Call) -> Answer:
        network = self._networks.create(parse_network(read_fields(await call.request.json())))
        return json_response({"Id": network.id, "Warning": ""}, 201)

    async def inspect(self, call: Call) -> Answer:
        view = self._networks.find(call.name)
        scope = call.query.text("scope")
        if scope and scope != "local":
            view = self._networks.find("")
        return json_response(render_network(view, True))

    async def remove(self, call: Call) -> Answer:
        self._networks.remove(call.name)
        return no_content()

    async def prune(self, call: Call) -> Answer:
        filters = call.query.filters(_PRUNE_FILTERS)
        if len(filters["until"]) > 1:
            raise InvalidArgument("more than one until filter specified")
        until = min((parse_moment(text, time.time_ns()) for text in filters["until"]), default=0)
        chosen = [view.network for view in self._networks.list() if _is_prunable(view.network, filters, until)]
        removed = self._networks.prune(frozenset(network.id for network in chosen))
        return json_response({"NetworksDeleted": list(removed) or None})

    async def connect(self, call: Call) -> Answer:
        body = read_fields(await call.request.json())
        settings = parse_endpoint(call.name, body.part("EndpointConfig"))
        await self._networks.connect(call.name, body.text("Container"), settings)
        return Response(200)

    async def disconnect(self, call: Call) -> Answer:
        body = read_fields(await call.request.json())
        await self._networks.disconnect(call.name, body.text("Container"), body.flag("Force"))
        return Response(200)


def _is_prunable(network: Network, filters: Filters, until: int) -> bool:
    if until and network.created_ns > until:
        return False
    unwanted = "label!" in filters and filters.labels(network.labels, "label!")
    return filters.labels(network.labels) and not unwanted


def _check_filters(filters: Filters) -> None:
    if unknown := [value for value in filters["type"] if value not in ("builtin", "custom")]:
        raise InvalidArgument(f"invalid filter: 'type'='{unknown[0]}'")
    filters.flag("dangling")


def wanted(view: NetworkView, filters: Filters) -> bool:
    network = view.network
    if "name" in filters and not any(part in network.name for part in filters["name"]):
        return False
    if "id" in filters and not any(part in network.id for part in filters["id"]):
        return False
    custom = network.name not in PREDEFINED
    dangling = filters.flag("dangling")
    if dangling is not None and dangling != (custom and not view.containers):
        return False
    if not filters.exact("type", "custom" if custom else "builtin") or not filters.labels(network.labels):
        return False
    return filters.exact("driver", network.driver) and filters.exact("scope", "local")


def render_network(view: NetworkView, with_containers: bool) -> Json:
    """A list leaves the containers out, as dockerd has done since API 1.28."""
    network = view.network
    members = view.containers if with_containers else ()
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created_ns),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv6": network.ipv6,
        "IPAM": {
            "Driver": network.ipam_driver,
            "Options": network.ipam_options,
            "Config": [_render_range(one) for one in (*network.ranges, *network.idle_ranges)],
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": network.config_from},
        "ConfigOnly": network.config_only,
        "Containers": {identity: _render_member(name, endpoint) for identity, name, endpoint in members},
        "Options": dict(network.options),
        "Labels": dict(network.labels),
    }


def _render_range(one: AddressRange) -> Json:
    rendered: Json = {"Subnet": one.subnet}
    if one.ip_range:
        rendered["IPRange"] = one.ip_range
    if one.gateway:
        rendered["Gateway"] = one.gateway
    if one.reserved:
        rendered["AuxiliaryAddresses"] = dict(one.reserved)
    return rendered


def _render_member(name: str, endpoint: Endpoint) -> Json:
    return {
        "Name": name,
        "EndpointID": endpoint.endpoint_id,
        "MacAddress": endpoint.mac_address,
        "IPv4Address": f"{endpoint.address}/{endpoint.prefix_length}" if endpoint.address else "",
        "IPv6Address": f"{endpoint.address6}/{endpoint.prefix_length6}" if endpoint.address6 else "",
    }
