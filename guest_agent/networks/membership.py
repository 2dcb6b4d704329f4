"""A container's place in a network that somebody made: addresses are chosen, and the wish becomes an endpoint."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address, ip_interface, ip_network

from guest_agent.networks.addresses import Address, AddressPool, mac_address
from guest_agent.networks.sandbox import free_interface
from guest_agent.networks.vlan_driver import routes_by_link
from guest_agent.wire.errors import HostvmError, InvalidArgument
from guest_agent.wire.models import Endpoint
from guest_agent.wire.networks import BRIDGE, PREDEFINED, EndpointSettings, Network, list_complaints


@dataclasses.dataclass(frozen=True, slots=True)
class Membership:
    """Who is to be connected to what. `names` are what the network's members will find the container by.

    `last` are the addresses that it had there before, and gets again where nobody else has them.
    """

    settings: EndpointSettings
    names: tuple[str, ...] = ()
    last: tuple[str, ...] = ()


def make_pools(network: Network) -> tuple[AddressPool, ...]:
    """One for each of its ranges."""
    return tuple(
        AddressPool(
            ip_interface(f"{one.gateway}/{ip_network(one.subnet).prefixlen}"),
            ip_network(one.ip_range) if one.ip_range else None,
            map(ip_address, one.reserved.values()),
        )
        for one in network.ranges
    )


def check_settings(network: Network, settings: EndpointSettings) -> None:
    """Raises InvalidArgument in dockerd's words, with everything that is wrong."""
    errors = list(_errors_of(network, settings))
    if errors:
        raise InvalidArgument(list_complaints(errors))
    for text in settings.link_local:
        if not ip_address(text).is_link_local:
            raise InvalidArgument(f"invalid link local IP address: {text}")


def _errors_of(network: Network, settings: EndpointSettings) -> Iterator[str]:
    addresses = list(filter(None, (settings.address, settings.address6)))
    if network.name in PREDEFINED and addresses:
        yield "user specified IP address is supported on user defined networks only"
    if network.name in PREDEFINED and settings.aliases:
        yield "network-scoped alias is supported only for containers in user defined networks"
    ranges = (*network.ranges, *network.idle_ranges)
    for text in addresses:
        if not network.configured and network.name != BRIDGE:
            yield "user specified IP address is supported only when connecting to networks with user configured subnets"
        elif not any(ip_address(text) in ip_network(one.subnet, strict=False) for one in ranges):
            yield f"no configured subnet or ip-range contain the IP address {text}"


def take_addresses(pools: Sequence[AddressPool], member: Membership) -> tuple[Address | None, Address | None]:
    """One of each family that the network has. Raises Forbidden and HostFailed; nothing is taken then."""
    first = _take(pools, 4, member.settings.address, member.last)
    try:
        return first, _take(pools, 6, member.settings.address6, member.last)
    except HostvmError:
        give_back(pools, first)
        raise


def _take(pools: Sequence[AddressPool], version: int, wanted: str, last: Iterable[str]) -> Address | None:
    candidates = [pool for pool in pools if pool.subnet.version == version]
    if wanted and candidates:
        address = ip_address(wanted)
        next(pool for pool in candidates if address in pool.subnet).take_this(address)
        return address
    for pool in candidates[:-1]:
        try:
            return pool.take(_find_last(pool, last))
        except HostvmError:
            continue
    return candidates[-1].take(_find_last(candidates[-1], last)) if candidates else None


def _find_last(pool: AddressPool, last: Iterable[str]) -> str:
    return next((text for text in last if ip_address(text) in pool.subnet), "")


def give_back(pools: Iterable[AddressPool], address: Address | None) -> None:
    """Idempotent."""
    for pool in pools:
        if address is not None and address in pool.subnet:
            pool.give_back(address)


def claim(pools: Iterable[AddressPool], endpoint: Endpoint) -> None:
    """What a container has that runs already."""
    for text in filter(None, (endpoint.address, endpoint.address6)):
        for pool in pools:
            if ip_address(text) in pool.subnet:
                pool.claim(ip_address(text))


def plan_endpoint(
    network: Network, member: Membership, addresses: tuple[Address | None, Address | None], taken: Iterable[str]
) -> Endpoint:
    """Everything about the place but the host's end of the wire. `taken` are the container's other interfaces."""
    settings, (address, address6) = member.settings, addresses
    endpoint = Endpoint(
        network=network.name,
        network_id=network.id,
        endpoint_id=secrets.token_hex(32),
        aliases=settings.aliases,
        interface=free_interface(taken),
        mac_address=_plan_mac(network, settings, address or address6),
        names=member.names,
        links=settings.links,
        internal=network.internal,
    )
    way_out = not network.internal and not routes_by_link(network)
    return _with_addresses(endpoint, network, address, address6, way_out)


def _plan_mac(network: Network, settings: EndpointSettings, address: Address | None) -> str:
    """An ipvlan has its parent's."""
    if network.driver == "ipvlan":
        return ""
    return settings.mac_address or (mac_address(address) if address is not None else "")


def _with_addresses(
    endpoint: Endpoint, network: Network, address: Address | None, address6: Address | None, way_out: bool
) -> Endpoint:
    if address is not None:
        prefix_length, gateway = _range_of(network, address)
        endpoint = dataclasses.replace(
            endpoint, address=str(address), prefix_length=prefix_length, gateway=gateway if way_out else ""
        )
    if address6 is not None:
        prefix_length, gateway = _range_of(network, address6)
        endpoint = dataclasses.replace(
            endpoint, address6=str(address6), prefix_length6=prefix_length, gateway6=gateway if way_out else ""
        )
    return endpoint


def _range_of(network: Network, address: Address) -> tuple[int, str]:
    one = next(one for one in network.ranges if address in ip_network(one.subnet))
    return ip_network(one.subnet).prefixlen, one.gateway


def publishing_endpoint(endpoints: Iterable[Endpoint]) -> Endpoint | None:
    """The one whose address published ports lead to: of a bridge with a way out, that with the smallest name."""
    able = [one for one in endpoints if one.host_interface and one.address and not one.internal]
    return min(able, key=lambda one: one.network, default=None)
