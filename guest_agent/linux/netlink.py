"""rtnetlink by hand: links, addresses and routes in tens of microseconds, where `ip` takes milliseconds.

Requests are values (bytes with a type and flags) made by pure functions; `RouteSocket` sends any number of them in one
sendmsg and reads one acknowledgement for each. The kernel works through all of them even if one fails, so the caller
undoes what was made. Formats: rtnetlink(7), linux/if_link.h, linux/if_bridge.h, linux/veth.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_interface,
    ip_network,
)

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_LINKINFO, IFLA_IFALIAS, IFLA_AF_SPEC, IFLA_NET_NS_FD = 18, 20, 26, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE = 8, 1
IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 4, 33  # the first is hairpin
VETH_INFO_PEER = 1
IFF_UP = 1
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
IFA_F_NODAD = 2
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RTN_UNICAST = 254, 3, 0, 253, 1
RT_SCOPE_NOWHERE = 255

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst len, src len, tos, table, protocol, scope, type, flags
_RECEIVE = 1 << 16  # the kernel fills dumps up to 32 KiB a message
_LOOPBACK_INDEX = 1

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Subnet = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Request:
    """One netlink message without its header."""

    type: int
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as a dump shows it.

    `master` is 0, and `kind` ("bridge", "veth") and `alias` are "" where there is none.
    """

    index: int
    name: str
    master: int
    mtu: int
    kind: str
    alias: str = ""


# -- attributes


def attribute(kind: int, payload: bytes) -> bytes:
    """One type-length-value, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def nested(kind: int, *children: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(children))


def parse_attributes(data: bytes) -> dict[int, bytes]:
    """Type -> payload; of a type that comes twice the last one counts. A malformed rest is ignored."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4:
            break
        found[kind & NLA_TYPE_MASK] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def _text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def _mac(text: str) -> bytes:
    return attribute(IFLA_ADDRESS, bytes.fromhex(text.replace(":", "")))


# -- requests


def plan_bridge(name: str, mac: str) -> Request:
    """A bridge, down. Without an IPv6 link-local address: containers would reach the host's services by it."""
    body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _text(IFLA_IFNAME, name) + _mac(mac)
    kind = nested(IFLA_LINKINFO, _text(IFLA_INFO_KIND, "bridge"))
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body + kind)


def plan_veth(name: str, bridge: int, peer_name: str, peer_mac: str, peer_namespace: int, mtu: int) -> Request:
    """A pair in one message: our end down in the bridge, the other end in the namespace of that descriptor."""
    peer = (
        _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        + _text(IFLA_IFNAME, peer_name)
        + _mac(peer_mac)
        + _number(IFLA_MTU, mtu)
        + _number(IFLA_NET_NS_FD, peer_namespace)
    )
    data = nested(IFLA_INFO_DATA, attribute(VETH_INFO_PEER | NLA_F_NESTED, peer))
    body = (
        _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        + _text(IFLA_IFNAME, name)
        + _number(IFLA_MTU, mtu)
        + _number(IFLA_MASTER, bridge)
        + nested(IFLA_LINKINFO, _text(IFLA_INFO_KIND, "veth"), data)
    )
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def plan_hairpin(name: str) -> Request:
    """Lets frames go back out of the bridge port they came in by: a container that calls its own published port."""
    return _plan_port_flag(name, IFLA_BRPORT_MODE)


def plan_isolated(name: str) -> Request:
    """The bridge port gets no frames of other isolated ones, and gives them none; the bridge itself is reached."""
    return _plan_port_flag(name, IFLA_BRPORT_ISOLATED)


def _plan_port_flag(name: str, kind: int) -> Request:
    slave = nested(IFLA_INFO_SLAVE_DATA, attribute(kind, b"\1"))
    info = nested(IFLA_LINKINFO, _text(IFLA_INFO_SLAVE_KIND, "bridge"), slave)
    return Request(RTM_NEWLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _text(IFLA_IFNAME, name) + info)


def plan_no_link_local(name: str) -> Request:
    """No automatic IPv6 address on that interface; to be sent before it goes up."""
    mode = attribute(IFLA_INET6_ADDR_GEN_MODE, bytes([IN6_ADDR_GEN_MODE_NONE]))
    family = nested(IFLA_AF_SPEC, nested(socket.AF_INET6, mode))
    return Request(RTM_NEWLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _text(IFLA_IFNAME, name) + family)


def plan_up(name: str) -> Request:
    return Request(RTM_NEWLINK, 0, _LINK.pack(0, 0, 0, IFF_UP, IFF_UP) + _text(IFLA_IFNAME, name))


def plan_loopback_up() -> Request:
    return Request(RTM_NEWLINK, 0, _LINK.pack(0, 0, _LOOPBACK_INDEX, IFF_UP, IFF_UP))


def plan_delete_link(name: str) -> Request:
    """For a bridge only: deleting a veth waits for an RCU grace period of tens of milliseconds."""
    return Request(RTM_DELLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _text(IFLA_IFNAME, name))


def plan_delete_link_at(index: int) -> Request:
    """Any interface, one in a container's namespace foremost. Waits for that grace period where it is a veth."""
    return Request(RTM_DELLINK, 0, _LINK.pack(0, 0, index, 0, 0))


def plan_rename(index: int, name: str) -> Request:
    """For an interface that is down."""
    return Request(RTM_NEWLINK, 0, _LINK.pack(0, 0, index, 0, 0) + _text(IFLA_IFNAME, name))


def plan_alias(name: str, alias: str) -> Request:
    """A text of ours that the interface carries: whose it is."""
    return Request(RTM_NEWLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _text(IFLA_IFNAME, name) + _text(IFLA_IFALIAS, alias))


def plan_address(index: int, address: Interface) -> Request:
    """An IPv6 address is used at once: who gives it out knows that nobody else has it."""
    flags = IFA_F_NODAD if address.version == 6 else 0
    body = _ADDRESS.pack(_family(address), address.network.prefixlen, flags, RT_SCOPE_UNIVERSE, index)
    body += attribute(IFA_LOCAL, address.packed) + attribute(IFA_ADDRESS, address.packed)
    if address.version == 4:
        body += attribute(IFA_BROADCAST, address.network.broadcast_address.packed)
    return Request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body)


def plan_delete_address(index: int, address: Interface) -> Request:
    body = _ADDRESS.pack(_family(address), address.network.prefixlen, 0, RT_SCOPE_UNIVERSE, index)
    return Request(RTM_DELADDR, 0, body + attribute(IFA_LOCAL, address.packed))


def plan_default_route(gateway: Address, index: int = 0) -> Request:
    """By the interface of this index; 0 leaves it to the kernel, which can't tell for a link-local gateway."""
    head = _plan_route_head(_family(gateway), 0)
    where = attribute(RTA_GATEWAY, gateway.packed) + (_number(RTA_OIF, index) if index else b"")
    return Request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, head + where)


def plan_link_route(destination: Subnet, index: int) -> Request:
    """Whatever is for there goes out by that interface, without a gateway; the default route is 0.0.0.0/0 or ::/0."""
    head = _plan_route_head(_family(destination), destination.prefixlen, RT_SCOPE_LINK)
    where = attribute(RTA_DST, destination.network_address.packed) if destination.prefixlen else b""
    return Request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, head + where + _number(RTA_OIF, index))


def plan_delete_default_route(family: int) -> Request:
    """One of them, whichever comes first."""
    return Request(RTM_DELROUTE, 0, _ROUTE.pack(family, 0, 0, 0, RT_TABLE_MAIN, 0, RT_SCOPE_NOWHERE, 0, 0))


def _plan_route_head(family: int, prefix_length: int, scope: int = RT_SCOPE_UNIVERSE) -> bytes:
    return _ROUTE.pack(family, prefix_length, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0)


def _family(address: Address | Interface | Subnet) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


# -- the socket


class RouteSocket:
    """A socket to rtnetlink of the network namespace in which it is opened. Not thread-safe."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._sequence = 0

    def close(self) -> None:
        """May be called twice."""
        self._socket.close()

    def execute(self, *requests: Request) -> None:
        """Sends all in one go; raises OSError of the first that failed, once every answer is in."""
        first = self._sequence + 1
        self._socket.send(b"".join(self._frame(request, NLM_F_ACK) for request in requests))
        failures = [code for code in self._acknowledgements(first, len(requests)) if code]
        if failures:
            raise OSError(failures[0], f"netlink: {os.strerror(failures[0])}")

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """The body of every message of a dump."""
        self._socket.send(self._frame(Request(kind, NLM_F_DUMP, body), 0))
        while True:
            for message, _, payload in parse_messages(self._socket.recv(_RECEIVE)):
                if message == NLMSG_DONE:
                    return
                if message == NLMSG_ERROR:
                    raise OSError(parse_error(payload), "netlink dump")
                yield payload

    def links(self) -> list[Link]:
        return [_parse_link(body) for body in self.dump(RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0))]

    def find_link(self, name: str) -> Link | None:
        return next((link for link in self.links() if link.name == name), None)

    def addresses(self, index: int, family: int = socket.AF_INET) -> list[Interface]:
        """The addresses of one interface, of IPv4 or of IPv6; automatic ones (fe80::/10) are left out."""
        bodies = self.dump(RTM_GETADDR, _ADDRESS.pack(family, 0, 0, 0, 0))
        found = [address for owner, address in map(_parse_address, bodies) if owner == index]
        return [address for address in found if not (address.version == 6 and address.is_link_local)]

    def routes(self) -> list[tuple[IPv4Network, int]]:
        """Destination and interface index (0 where there is none) of every IPv4 route, the default one included."""
        routes = self._routes(socket.AF_INET)
        return [(where, index) for where, index in routes if isinstance(where, IPv4Network)]

    def routes6(self) -> list[tuple[IPv6Network, int]]:
        """The same for IPv6."""
        routes = self._routes(socket.AF_INET6)
        return [(where, index) for where, index in routes if isinstance(where, IPv6Network)]

    def _routes(self, family: int) -> list[tuple[Subnet, int]]:
        bodies = self.dump(RTM_GETROUTE, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))
        return [_parse_route(body) for body in bodies]

    def _frame(self, request: Request, flags: int) -> bytes:
        self._sequence += 1
        length = _HEADER.size + len(request.body)
        header = _HEADER.pack(length, request.type, request.flags | NLM_F_REQUEST | flags, self._sequence, 0)
        return header + request.body

    def _acknowledgements(self, first: int, count: int) -> list[int]:
        codes: list[int] = []
        while len(codes) < count:
            for message, sequence, payload in parse_messages(self._socket.recv(_RECEIVE)):
                if message == NLMSG_ERROR and sequence >= first:
                    codes.append(parse_error(payload))
        return codes


def parse_messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, sequence, body) of every message in a datagram."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
        yield kind, sequence, data[at + _HEADER.size : at + length]
        at += (max(length, _HEADER.size) + 3) & ~3


def parse_error(payload: bytes) -> int:
    return -int(struct.unpack_from("=i", payload)[0])


def _parse_link(body: bytes) -> Link:
    index = _LINK.unpack_from(body)[2]
    found = parse_attributes(body[_LINK.size :])
    kind = parse_attributes(found.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_KIND)
    return Link(
        index=index,
        name=_string(found.get(IFLA_IFNAME)),
        master=_uint(found.get(IFLA_MASTER)),
        mtu=_uint(found.get(IFLA_MTU)),
        kind=_string(kind),
        alias=_string(found.get(IFLA_IFALIAS)),
    )


def _parse_address(body: bytes) -> tuple[int, Interface]:
    _, prefix_length, _, _, index = _ADDRESS.unpack_from(body)
    found = parse_attributes(body[_ADDRESS.size :])
    packed = found.get(IFA_LOCAL) or found[IFA_ADDRESS]
    return index, ip_interface((packed, prefix_length))


def _parse_route(body: bytes) -> tuple[Subnet, int]:
    family, prefix_length = _ROUTE.unpack_from(body)[:2]
    found = parse_attributes(body[_ROUTE.size :])
    destination = found.get(RTA_DST, bytes(4 if family == socket.AF_INET else 16))
    return ip_network((destination, prefix_length), strict=False), _uint(found.get(RTA_OIF))


def _string(payload: bytes | None) -> str:
    return (payload or b"").rstrip(b"\0").decode(errors="replace")


def _uint(payload: bytes | None) -> int:
    return int(struct.unpack("=I", payload)[0]) if payload else 0


def is_missing(failure: OSError) -> bool:
    """Was the thing to be removed not there?"""
    return failure.errno in (errno.ENODEV, errno.ENOENT, errno.EADDRNOTAVAIL)
