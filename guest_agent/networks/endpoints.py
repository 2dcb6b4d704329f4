"""A container's namespace and its wire to the bridge: about 2 ms, and nothing is left when a step fails.

No veth is ever deleted by us: deleting one waits for the kernel (14-77 ms), closing its namespace doesn't.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from ipaddress import IPv4Interface

from guest_agent.linux import netlink
from guest_agent.linux.namespaces import inside_new_network_namespace
from guest_agent.linux.netlink import RouteSocket
from guest_agent.networks.addresses import mac_address
from guest_agent.networks.bridge import Bridge, have_ipv6, write_switch

INTERFACE = "eth0"


@dataclass(frozen=True, slots=True)
class Wire:
    """What was made: the namespace's descriptor (the caller owns it) and our end's name."""

    namespace: int
    host_interface: str
    mac_address: str


def open_loopback_namespace() -> int:
    """A namespace with nothing but `lo`, for the network `none`."""
    with inside_new_network_namespace() as namespace:
        inner = RouteSocket()
        try:
            inner.execute(netlink.plan_loopback_up())
        finally:
            inner.close()
    return namespace


def make_wire(route: RouteSocket, bridge: Bridge, address: IPv4Interface) -> Wire:
    """A namespace whose eth0 has the address and a default route by the bridge. Raises OSError."""
    namespace, inner = _open_namespace()
    try:
        wire = Wire(namespace, f"veth{secrets.token_hex(4)}", mac_address(address.ip))
        _plug_in(route, bridge, wire)
        _configure(inner, address, bridge)
    except BaseException:
        os.close(namespace)
        raise
    finally:
        inner.close()
    return wire


def _open_namespace() -> tuple[int, RouteSocket]:
    """eth0 gets no IPv6 address, as in docker's IPv4 networks; `lo`, which is there already, keeps ::1."""
    with inside_new_network_namespace() as namespace:
        if have_ipv6():
            write_switch("ipv6/conf/default/disable_ipv6", "1")
        return namespace, RouteSocket()


def _plug_in(route: RouteSocket, bridge: Bridge, wire: Wire) -> None:
    name = wire.host_interface
    quiet = [netlink.plan_no_link_local(name)] if have_ipv6() else []
    route.execute(
        netlink.plan_veth(name, bridge.index, INTERFACE, wire.mac_address, wire.namespace, bridge.mtu),
        netlink.plan_hairpin(name),
        *quiet,
        netlink.plan_up(name),
    )


def _configure(inner: RouteSocket, address: IPv4Interface, bridge: Bridge) -> None:
    link = inner.find_link(INTERFACE)
    if link is None:
        raise OSError(f"{INTERFACE} vanished")
    inner.execute(
        netlink.plan_loopback_up(),
        netlink.plan_address(link.index, address),
        netlink.plan_up(INTERFACE),
        netlink.plan_default_route(bridge.gateway.ip),
    )


def open_name_sockets(address: str) -> tuple[socket.socket, socket.socket]:
    """UDP and TCP at port 53 of that address of the namespace that the calling thread is in.

    SO_REUSEADDR lets a name server of the container bind 0.0.0.0:53 beside it where UDP is concerned.
    """
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    streams = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        for one in (datagrams, streams):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((address, 53))
        streams.listen(16)
    except BaseException:
        datagrams.close()
        streams.close()
        raise
    return datagrams, streams
