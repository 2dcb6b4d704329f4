"""Which ports programs on the host's network listen on: the kernel's tables as text, and what follows from them. Pure.

Of UDP there is no listening: an unconnected socket counts as a service unless its port is one of those that the kernel
gives to clients.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from guest_agent.wire.models import Protocol

#: include/net/tcp_states.h; an unconnected UDP socket has TCP_CLOSE.
_TCP_LISTEN, _UDP_UNCONNECTED = "0A", "07"
#: net.ipv4.ip_local_port_range's default.
CLIENT_PORTS = range(32768, 61000)
_LOOPBACK4, _LOOPBACK6 = "127.0.0.1", "::1"


@dataclass(frozen=True, slots=True, order=True)
class Listener:
    """A socket that waits for peers; the addresses are as in `ss`: "0.0.0.0" and "::" are any."""

    protocol: Protocol
    address: str
    port: int


@dataclass(frozen=True, slots=True, order=True)
class Exposure:
    """What to hold on the machine's host ("" = every address) and where it leads to inside."""

    protocol: Protocol
    host_ip: str
    port: int
    address: str


def parse_sockets(text: str, protocol: Protocol, client_ports: range = CLIENT_PORTS) -> frozenset[Listener]:
    """The listeners in /proc/net/{tcp,tcp6,udp,udp6}. Lines that aren't understood are skipped."""
    wanted = _TCP_LISTEN if protocol is Protocol.TCP else _UDP_UNCONNECTED
    found = set()
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > 3 and words[3] == wanted:
            address, port = _parse_address(words[1])
            if protocol is Protocol.TCP or port not in client_ports:
                found.add(Listener(protocol, address, port))
    return frozenset(found)


def plan_exposures(listeners: Iterable[Listener]) -> frozenset[Exposure]:
    """A listener of every address gets every address of the host, one of the loopback gets the host's loopback.

    Those of other addresses (the bridge's, the machine's own) are nobody's business outside.
    """
    chosen: dict[tuple[Protocol, str, int], str] = {}
    for one in sorted(listeners):
        host_ip, inner = _exposed(one.address)
        if inner:
            chosen.setdefault((one.protocol, host_ip, one.port), inner)
    return frozenset(
        Exposure(protocol, host_ip, port, inner)
        for (protocol, host_ip, port), inner in chosen.items()
        if not host_ip or (protocol, "", port) not in chosen
    )


def format_exposures(exposures: Iterable[Exposure]) -> str:
    return json.dumps([(one.protocol, one.host_ip, one.port, one.address) for one in exposures])


def parse_exposures(note: str) -> list[Exposure]:
    """What a predecessor wrote down; nothing for ""."""
    records = json.loads(note) if note else []
    return [Exposure(Protocol(protocol), host_ip, port, address) for protocol, host_ip, port, address in records]


def _exposed(address: str) -> tuple[str, str]:
    if address in ("0.0.0.0", "::"):
        return "", _LOOPBACK4 if address == "0.0.0.0" else _LOOPBACK6
    if address.startswith("127."):
        return _LOOPBACK4, address
    if address == _LOOPBACK6:
        return _LOOPBACK6, address
    return "", ""


def _parse_address(text: str) -> tuple[str, int]:
    """`0100007F:1F90`: the address in words of the machine's byte order, the port as a number."""
    digits, _, port = text.partition(":")
    raw = b"".join(_word(digits[at : at + 8]) for at in range(0, len(digits), 8))
    address = IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address), int(port, 16)


def _word(digits: str) -> bytes:
    return int(digits, 16).to_bytes(4, sys.byteorder)
