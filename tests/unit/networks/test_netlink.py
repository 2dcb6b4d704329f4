"""Netlink's formats, without a kernel."""

from __future__ import annotations

import socket
import struct

from hypothesis import given
from hypothesis import strategies as st

from guest_agent.linux.netlink import attribute, nested, parse_attributes, parse_messages
from guest_agent.linux.netlink_conntrack import Flow, parse_flow


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=40), max_size=8))
def test_attributes_are_read_back(attributes: dict[int, bytes]) -> None:
    data = b"".join(attribute(kind, payload) for kind, payload in attributes.items())
    assert len(data) % 4 == 0
    assert parse_attributes(data) == attributes


@given(st.binary(max_size=200))
def test_garbage_ends(data: bytes) -> None:
    parse_attributes(data)
    list(parse_messages(data))
    parse_flow(data)


def test_messages_are_taken_apart() -> None:
    one = struct.pack("=IHHII", 19, 16, 0, 7, 0) + b"abc\0"
    two = struct.pack("=IHHII", 16, 3, 0, 8, 0)
    assert list(parse_messages(one + two)) == [(16, 7, b"abc"), (3, 8, b"")]


def test_a_flow_is_read() -> None:
    def addresses(source: str, destination: str) -> bytes:
        return nested(1, attribute(1, socket.inet_aton(source)), attribute(2, socket.inet_aton(destination)))

    ports = nested(2, attribute(1, b"\x11"), attribute(2, b"\x30\x39"), attribute(3, b"\x14\xe9"))
    original = addresses("10.0.0.9", "10.0.0.1") + ports
    reply = addresses("172.30.0.2", "10.0.0.9") + ports
    body = bytes(4) + nested(1, original) + nested(2, reply)
    assert parse_flow(body) == Flow(17, "10.0.0.9", "10.0.0.1", 5353, "172.30.0.2", original)
    assert parse_flow(bytes(4) + nested(1, original)) is None
