"""Pure: a container's places in networks to Docker's JSON."""

from __future__ import annotations

from guest_agent.api.render_config import Json
from guest_agent.engine.container import Container
from guest_agent.wire.models import Endpoint
from guest_agent.wire.networks import BRIDGE, DEFAULT, HOST, NONE, EndpointSettings

_NOWHERE = Endpoint(network="", network_id="")
_SHARED = "container:"


def render_networks(container: Container) -> dict[str, Json]:
    """`Networks`: those that it is on, running or not; none where it shares another's."""
    mode = container.host_config.network_mode
    if mode.startswith(_SHARED):
        return {}
    wanted = {one.network: one for one in container.networks}
    places = {one.network: one for one in container.endpoints}
    implied = {} if wanted or places or container.unconnected else {network_of(mode): EndpointSettings("")}
    names = dict.fromkeys([*wanted, *places, *implied])
    return {
        name: render_endpoint(container, wanted.get(name, EndpointSettings(name)), places.get(name)) for name in names
    }


def find_default(container: Container) -> Endpoint:
    """The endpoint whose addresses stand at the top of `NetworkSettings`: that of the default bridge."""
    return next((endpoint for endpoint in container.endpoints if endpoint.network == BRIDGE), _NOWHERE)


def render_addresses(endpoint: Endpoint) -> Json:
    return {
        "EndpointID": endpoint.endpoint_id,
        "Gateway": endpoint.gateway,
        "GlobalIPv6Address": endpoint.address6,
        "GlobalIPv6PrefixLen": endpoint.prefix_length6,
        "IPAddress": endpoint.address,
        "IPPrefixLen": endpoint.prefix_length,
        "IPv6Gateway": endpoint.gateway6,
        "MacAddress": endpoint.mac_address,
    }


def render_endpoint(container: Container, settings: EndpointSettings, endpoint: Endpoint | None) -> Json:
    """The wish and what came of it.

    Aliases have the id and the host's name in them, as up to API 1.44, once it has run: compose v1 takes a place
    without the id for one that it hasn't made as it should be, and makes it anew.
    """
    place = endpoint or Endpoint(settings.network, settings.network_id, mac_address=settings.mac_address)
    user_defined = settings.network not in ("", BRIDGE, HOST, NONE)
    own = (container.short_id, container.config.hostname) if user_defined and container.state.started_ns else ()
    aliases = dict.fromkeys(filter(None, (*settings.aliases, *own)))
    names = dict.fromkeys(filter(None, (container.name, *aliases)))
    return {
        "IPAMConfig": _render_wish(settings),
        "Links": list(settings.links) or None,
        "Aliases": list(aliases) or None,
        "NetworkID": place.network_id,
        **render_addresses(place),
        "DriverOpts": dict(settings.options) or None,
        "DNSNames": list(names) if user_defined else None,
    }


def _render_wish(settings: EndpointSettings) -> Json | None:
    if not settings.has_ipam:
        return None if settings.network in ("", BRIDGE, HOST, NONE) else {}
    rendered: Json = {}
    if settings.address:
        rendered["IPv4Address"] = settings.address
    if settings.address6:
        rendered["IPv6Address"] = settings.address6
    if settings.link_local:
        rendered["LinkLocalIPs"] = list(settings.link_local)
    return rendered


def network_of(mode: str) -> str:
    """What the network of a mode is called."""
    return BRIDGE if mode in ("", DEFAULT) else mode


def render_links(container: Container) -> list[str] | None:
    """As dockerd keeps those on the default network: "/target:/container/alias"; elsewhere as they were asked for."""
    links = container.host_config.links
    if container.host_config.network_mode not in ("", DEFAULT, BRIDGE):
        return list(links) or None
    pairs = [link.partition(":")[::2] for link in links]
    return [f"/{_bare(name)}:/{container.name}/{_bare(alias or name)}" for name, alias in pairs] or None


def _bare(name: str) -> str:
    return name.rpartition("/")[2]
