"""The kernel's table of flows, by nfnetlink: to make it forget UDP flows that point to where a port led before.

The kernel translates by the entry that a flow's first packet made, for as long as packets keep coming; a sender that
never pauses would never see that the port has moved. (TCP needs none of this: a connection ends with its container.)
Formats: linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from guest_agent.linux.netlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    nested,
    parse_attributes,
    parse_error,
    parse_messages,
)

_CTNETLINK = 1 << 8
_GET, _DELETE = _CTNETLINK | 1, _CTNETLINK | 2
_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY = 1, 2
_CTA_TUPLE_IP, _CTA_TUPLE_PROTO = 1, 2
_CTA_IP_V4_SRC, _CTA_IP_V4_DST = 1, 2
_CTA_PROTO_NUM, _CTA_PROTO_DST_PORT = 1, 3
_HEADER = struct.Struct("=IHHII")
_NFGENMSG = struct.pack("=BBH", socket.AF_INET, 0, 0)
_NETLINK_NETFILTER = 12
_RECEIVE = 1 << 16


@dataclass(frozen=True, slots=True)
class Flow:
    """An IPv4 flow: where its first packet wanted to go, and who answers. `original` is the raw key."""

    protocol: int
    source: str
    destination: str
    destination_port: int
    answering: str
    original: bytes


def forget_flows(unwanted: Callable[[Flow], bool]) -> int:
    """Deletes the IPv4 flows that are unwanted; answers how many. An entry that is gone already is no error."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as netlink:
        flows = [flow for flow in _dump(netlink) if unwanted(flow)]
        for flow in flows:
            key = nested(_CTA_TUPLE_ORIG, flow.original)
            netlink.send(_message(_DELETE, NLM_F_ACK, _NFGENMSG + key))
            netlink.recv(_RECEIVE)
    return len(flows)


def _dump(netlink: socket.socket) -> list[Flow]:
    netlink.send(_message(_GET, NLM_F_DUMP, _NFGENMSG))
    flows: list[Flow] = []
    while True:
        for kind, _, body in parse_messages(netlink.recv(_RECEIVE)):
            if kind == NLMSG_DONE:
                return flows
            if kind == NLMSG_ERROR:
                raise OSError(parse_error(body), f"conntrack: {os.strerror(parse_error(body))}")
            flow = parse_flow(body)
            if flow is not None:
                flows.append(flow)


def parse_flow(body: bytes) -> Flow | None:
    """None for what isn't IPv4 with ports."""
    attributes = parse_attributes(body[len(_NFGENMSG) :])
    original, reply = attributes.get(_CTA_TUPLE_ORIG, b""), attributes.get(_CTA_TUPLE_REPLY, b"")
    address, ports, answer = _part(original, _CTA_TUPLE_IP), _part(original, _CTA_TUPLE_PROTO), _part(reply, 1)
    try:
        return Flow(
            protocol=ports[_CTA_PROTO_NUM][0],
            source=socket.inet_ntoa(address[_CTA_IP_V4_SRC]),
            destination=socket.inet_ntoa(address[_CTA_IP_V4_DST]),
            destination_port=int.from_bytes(ports[_CTA_PROTO_DST_PORT], "big"),
            answering=socket.inet_ntoa(answer[_CTA_IP_V4_SRC]),
            original=original,
        )
    except (KeyError, IndexError, OSError):
        return None


def _part(tuple_: bytes, kind: int) -> dict[int, bytes]:
    return parse_attributes(parse_attributes(tuple_).get(kind, b""))


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST | flags, 1, 0) + body
