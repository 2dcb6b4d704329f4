"""rtnetlink requests for interfaces on top of others: macvlan, ipvlan, VLANs, and one that leads nowhere.

Formats: linux/if_link.h.
"""

from __future__ import annotations

import socket
import struct

from guest_agent.linux.netlink import (
    IFLA_ADDRESS,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINK,
    IFLA_LINKINFO,
    IFLA_MTU,
    IFLA_NET_NS_FD,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_NEWLINK,
    Request,
    attribute,
    nested,
)

IFLA_VLAN_ID = 1
#: IFLA_MACVLAN_MODE and IFLA_IPVLAN_MODE.
_MODE = 1
_LINK = struct.Struct("=BxHiII")


def plan_child(
    kind: str, name: str, parent: int, mode: int, namespace: int = -1, mac: str = "", mtu: int = 0
) -> Request:
    """A macvlan (mode is 32 bits) or ipvlan (16 bits) of the parent, down, in the namespace of that descriptor."""
    data = attribute(_MODE, struct.pack("=I" if kind == "macvlan" else "=H", mode))
    more = [attribute(IFLA_NET_NS_FD, struct.pack("=I", namespace))] if namespace >= 0 else []
    more += [attribute(IFLA_ADDRESS, bytes.fromhex(mac.replace(":", "")))] if mac else []
    more += [attribute(IFLA_MTU, struct.pack("=I", mtu))] if mtu else []
    return _plan(kind, name, attribute(IFLA_LINK, struct.pack("=I", parent)) + b"".join(more), data)


def plan_vlan(name: str, parent: int, tag: int) -> Request:
    data = attribute(IFLA_VLAN_ID, struct.pack("=H", tag))
    return _plan("vlan", name, attribute(IFLA_LINK, struct.pack("=I", parent)), data)


def plan_dummy(name: str) -> Request:
    return _plan("dummy", name, b"", b"")


def _plan(kind: str, name: str, attributes: bytes, data: bytes) -> Request:
    info = attribute(IFLA_INFO_KIND, kind.encode() + b"\0")
    linkinfo = nested(IFLA_LINKINFO, info, *([nested(IFLA_INFO_DATA, data)] if data else []))
    body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + attribute(IFLA_IFNAME, name.encode() + b"\0")
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body + attributes + linkinfo)
