"""The inside of a container's network namespace: its interfaces' addresses, and which of them leads out.

Of several networks the one with the smallest name gives the default route, as in docker, for each family by itself;
internal networks give none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address, ip_interface, ip_network

from guest_agent.linux import netlink
from guest_agent.linux.namespaces import inside_network_namespace
from guest_agent.linux.netlink import Request, RouteSocket
from guest_agent.networks.addresses import Interface
from guest_agent.networks.bridge import have_ipv6, remove_link, write_switch
from guest_agent.wire.models import Endpoint

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@contextlib.contextmanager
def routing_inside(namespace: int) -> Iterator[RouteSocket]:
    """rtnetlink of that namespace, for the block."""
    with inside_network_namespace(namespace):
        inner = RouteSocket()
    try:
        yield inner
    finally:
        inner.close()


def configure(namespace: int, endpoint: Endpoint, link_local: Iterable[str] = ()) -> None:
    """The interface of that name gets its addresses and goes up. Raises OSError."""
    with inside_network_namespace(namespace), _socket_inside() as inner:
        if have_ipv6():
            write_switch(f"ipv6/conf/{endpoint.interface}/disable_ipv6", "0" if endpoint.address6 else "1")
        link = inner.find_link(endpoint.interface)
        if link is None:
            raise OSError(f"{endpoint.interface} vanished")
        addresses = [*addresses_of(endpoint), *map(_host_route, link_local)]
        inner.execute(netlink.plan_up(endpoint.interface))
        inner.execute(*(netlink.plan_address(link.index, address) for address in addresses))


def route_out(namespace: int, endpoints: Iterable[Endpoint]) -> None:
    """The default routes are those that these endpoints ask for, whatever they were. Raises OSError."""
    ways = plan_ways_out(endpoints)
    with routing_inside(namespace) as inner:
        indices = {link.name: link.index for link in inner.links()}
        for version, family in _FAMILIES.items():
            _forget_default_routes(inner, family)
            if version in ways:
                inner.execute(_plan_way_out(version, *ways[version], indices))


def remove_interface(namespace: int, interface: str) -> None:
    """Idempotent. Waits for the kernel (14-77 ms): to be called on another thread."""
    with routing_inside(namespace) as inner:
        link = inner.find_link(interface)
        if link is not None:
            inner.execute(netlink.plan_delete_link_at(link.index))


async def take_interface_away(namespace: int, interface: str) -> None:
    """The same off the loop. The namespace is entered by a thread of the pool, which comes back."""
    await asyncio.to_thread(remove_interface, namespace, interface)


async def take_links_away(names: Sequence[str]) -> None:
    """The hosts' ends of wires, and so the wires, off the loop. Idempotent."""
    await asyncio.to_thread(_remove_links, names)


def _remove_links(names: Sequence[str]) -> None:
    with contextlib.closing(RouteSocket()) as route:
        for name in names:
            remove_link(route, name)


def interfaces(namespace: int) -> frozenset[str]:
    """The names of all that are in there but `lo`."""
    with routing_inside(namespace) as inner:
        return frozenset(link.name for link in inner.links() if link.name != "lo" and link.kind)


@contextlib.contextmanager
def namespace_of(pid: int) -> Iterator[int]:
    """A descriptor of a process's network namespace, for the block. Raises OSError where it has ended."""
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield namespace
    finally:
        os.close(namespace)


# -- planning


def addresses_of(endpoint: Endpoint) -> list[Interface]:
    found = []
    if endpoint.address:
        found.append(ip_interface(f"{endpoint.address}/{endpoint.prefix_length}"))
    if endpoint.address6:
        found.append(ip_interface(f"{endpoint.address6}/{endpoint.prefix_length6}"))
    return found


def plan_ways_out(endpoints: Iterable[Endpoint]) -> dict[int, tuple[str, str]]:
    """IP version -> (interface, gateway) of the default route; gateway "" is a route by the interface alone."""
    ways: dict[int, tuple[str, str]] = {}
    for endpoint in sorted(endpoints, key=lambda one: one.network):
        if endpoint.internal:
            continue
        if endpoint.address:
            ways.setdefault(4, (endpoint.interface, endpoint.gateway))
        if endpoint.address6:
            ways.setdefault(6, (endpoint.interface, endpoint.gateway6))
    return ways


def free_interface(taken: Iterable[str]) -> str:
    """eth0, eth1, ...: the first that is none of the taken ones."""
    used = set(taken)
    return next(name for number in range(len(used) + 1) if (name := f"eth{number}") not in used)


def _plan_way_out(version: int, interface: str, gateway: str, indices: dict[str, int]) -> Request:
    if gateway:
        return netlink.plan_default_route(ip_address(gateway), indices[interface])
    everywhere = ip_network("0.0.0.0/0" if version == 4 else "::/0")
    return netlink.plan_link_route(everywhere, indices[interface])


def _forget_default_routes(inner: RouteSocket, family: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            inner.execute(netlink.plan_delete_default_route(family))


def _host_route(address: str) -> Interface:
    """docker's link-local addresses: each alone, of its own /16 or /64."""
    return ip_interface(f"{address}/{16 if ip_address(address).version == 4 else 64}")


@contextlib.contextmanager
def _socket_inside() -> Iterator[RouteSocket]:
    """rtnetlink of the namespace that the thread is in."""
    inner = RouteSocket()
    try:
        yield inner
    finally:
        inner.close()
