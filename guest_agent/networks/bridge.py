"""Bridges: made, or adopted from a predecessor, with their addresses and their switches in /proc/sys/net."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

from guest_agent.linux import netlink
from guest_agent.linux.netlink import Link, RouteSocket
from guest_agent.networks.addresses import Interface, choose_subnet, gateway_of, mac_address, parse_subnet
from guest_agent.networks.settings import NetworkSettings
from guest_agent.wire.errors import HostFailed

_FAMILIES = (socket.AF_INET, socket.AF_INET6)
#: Ethernet's; a smaller one is taken over from the outgoing interface, so that nothing depends on path MTU discovery.
LARGEST_MTU = 1500


#: Written on the default network's bridge where it is made here: one that the user had before isn't ours to delete.
DEFAULT_ALIAS = "hostvm"


@dataclass(frozen=True, slots=True)
class Bridge:
    """The bridge as it stands: its index, its address (the containers' gateway), and the MTU for veths."""

    index: int
    gateway: IPv4Interface
    mtu: int


def ensure_bridge(route: RouteSocket, settings: NetworkSettings, avoid: list[IPv4Network]) -> Bridge:
    """Idempotent. A bridge that is there keeps its address while containers hang on it, whatever the settings say.

    `avoid` are networks that must not be covered beside those of the routes. Raises OSError, or HostFailed when no
    subnet is free.
    """
    links = route.links()
    found = _find_bridge(links, settings.bridge)
    present = ipv4_addresses(route, found.index) if found else []
    occupied = found is not None and any(link.master == found.index for link in links)
    gateway = _plan_gateway(route, settings, present, occupied, avoid)
    index = found.index if found else _make(route, settings.bridge, gateway)
    if found is None:
        route.execute(netlink.plan_alias(settings.bridge, DEFAULT_ALIAS))
    for stale in (address for address in present if address != gateway):
        route.execute(netlink.plan_delete_address(index, stale))
    route.execute(netlink.plan_address(index, gateway), netlink.plan_up(settings.bridge))
    write_switch("ipv4/ip_forward", "1")
    write_switch(f"ipv4/conf/{settings.bridge}/route_localnet", "1")
    return Bridge(index, gateway, outgoing_mtu(route, links))


def raise_bridge(route: RouteSocket, name: str, addresses: Sequence[Interface], alias: str) -> int:
    """A user's bridge with these addresses, IPv4 first; its index. Idempotent.

    `alias` is written on one that is made here, so that it is known for ours, and has no other addresses. One that was
    there stays its owner's, with the addresses that it had.
    Raises OSError, and HostFailed where the name is that of an interface of another kind.
    """
    found = _find_bridge(route.links(), name)
    index = found.index if found else _make(route, name, addresses[0])
    if found is None:
        route.execute(netlink.plan_alias(name, alias))
    present = [address for family in _FAMILIES for address in route.addresses(index, family)]
    ours = found is None or found.alias == alias
    for stale in (address for address in present if ours and address not in addresses):
        route.execute(netlink.plan_delete_address(index, stale))
    added = [netlink.plan_address(index, address) for address in addresses]
    route.execute(netlink.plan_up(name))
    if any(address.version == 6 for address in addresses):
        write_switch(f"ipv6/conf/{name}/disable_ipv6", "0")
        write_switch("ipv6/conf/all/forwarding", "1")
    route.execute(*added)
    write_switch("ipv4/ip_forward", "1")
    write_switch(f"ipv4/conf/{name}/route_localnet", "1")
    return index


def ipv4_addresses(route: RouteSocket, index: int) -> list[IPv4Interface]:
    return [address for address in route.addresses(index) if isinstance(address, IPv4Interface)]


def remove_link(route: RouteSocket, name: str) -> None:
    """A bridge, or both ends of a wire. Idempotent."""
    try:
        route.execute(netlink.plan_delete_link(name))
    except OSError as failure:
        if not netlink.is_missing(failure):
            raise


def have_ipv6() -> bool:
    """Does this kernel speak IPv6 in this network namespace?"""
    return os.path.exists("/proc/net/if_inet6")


def write_switch(name: str, value: str) -> None:
    """Writes a sysctl of this network namespace, named by its path below /proc/sys/net, if it has another value.

    Not writing what is right already lets the engine start where /proc/sys is read-only but well set.
    """
    path = f"/proc/sys/net/{name}"
    with open(path) as file:
        if file.read().strip() == value:
            return
    with open(path, "w") as file:
        file.write(value)


def _find_bridge(links: list[Link], name: str) -> Link | None:
    found = next((link for link in links if link.name == name), None)
    if found is not None and found.kind != "bridge":
        raise HostFailed(
            f"the host has an interface {name} that isn't a bridge",
            hint="rename it, or give the engine's bridge another name in the configuration ([engine] bridge)",
        )
    return found


def _plan_gateway(
    route: RouteSocket,
    settings: NetworkSettings,
    present: list[IPv4Interface],
    occupied: bool,
    avoid: list[IPv4Network],
) -> IPv4Interface:
    if present and (occupied or not settings.subnet):
        return present[0]
    if settings.subnet:
        return parse_subnet(settings.subnet)
    return gateway_of(choose_subnet([destination for destination, _ in route.routes()] + avoid))


def _make(route: RouteSocket, name: str, gateway: Interface) -> int:
    """A fixed MAC: a bridge without one takes over its ports', and neighbours lose it whenever a port comes or goes."""
    route.execute(netlink.plan_bridge(name, mac_address(gateway.ip)))
    if have_ipv6():
        route.execute(netlink.plan_no_link_local(name))
    link = route.find_link(name)
    if link is None:
        raise OSError(errno.ENODEV, f"bridge {name} vanished")
    return link.index


def outgoing_mtu(route: RouteSocket, links: list[Link]) -> int:
    default = {index for destination, index in route.routes() if destination.prefixlen == 0}
    return min([LARGEST_MTU, *(link.mtu for link in links if link.index in default)])
