"""/networks."""

from __future__ import annotations

import time

from guest_agent.api.contract import Engine, NetworkView
from guest_agent.api.fields import read_fields
from guest_agent.api.filters import Filters, Misfiltered
from guest_agent.api.messages import Answer, Response, json_response, no_content
from guest_agent.api.parse_networks import parse_endpoint, parse_network
from guest_agent.api.render_config import Json
from guest_agent.api.router import Call, Route
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
        until = filters.until(time.time_ns())
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


def _is_prunable(network: Network, filters: Filters, until: int | None) -> bool:
    return (until is None or network.created_ns <= until) and filters.labels(network.labels)


def _check_filters(filters: Filters) -> None:
    """Raises InvalidArgument or Misfiltered (moby daemon/network/filter.go)."""
    if len(filters["dangling"]) > 1:
        raise InvalidArgument('got more than one value for filter key "dangling"')
    if "dangling" in filters and filters["dangling"][0] not in ("0", "false", "1", "true"):
        allowed = 'must be "true" (or "1"), or "false" (or "0")'
        raise InvalidArgument(f"invalid value for filter 'dangling', {allowed}")
    if unknown := [value for value in filters["type"] if value not in ("builtin", "custom")]:
        raise Misfiltered(f"invalid filter: 'type'='{unknown[0]}'")


def wanted(view: NetworkView, filters: Filters) -> bool:
    """A network without containers is a dangling one: so docker documents it, and so does what calls it.

    dockerd looks before it has counted its containers, so that all but the predefined ones are dangling there.
    """
    network = view.network
    custom = network.name not in PREDEFINED
    if "dangling" in filters and (filters["dangling"][0] in ("1", "true")) != (custom and not view.containers):
        return False
    return (
        filters.matches("name", network.name)
        and filters.matches("id", network.id)
        and filters.exact("type", "custom" if custom else "builtin")
        and filters.labels(network.labels)
        and filters.exact("driver", network.driver)
        and filters.exact("scope", "local")
    )


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
