"""To which hosts plain HTTP and unverified TLS are allowed, by docker's rules (moby registry/config.go, isCIDRMatch).

Loopback is, and what the configuration names: a host, a host with its port, or a network, in which an address or a name
that resolves to one may be. For dockerd a name that resolves to loopback is, too; here it must be named, as whoever
forges an answer of the resolver could else have TLS left away.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from guest_agent.images.dialling import is_loopback

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Docker's own are never insecure.
_HUB = ".docker.io"


def find_network(entry: str) -> Network | None:
    """None for what is no network: a host."""
    try:
        return ipaddress.ip_network(entry) if "/" in entry else None
    except ValueError:
        return None


def is_insecure(netloc: str, entries: Sequence[str]) -> bool:
    """`netloc` is host[:port]. Where entries are networks the resolver is asked for a name, which may take its time."""
    host = host_of(netloc)
    if netloc in entries or host in entries or host.endswith(".localhost") or is_loopback(host):
        return True
    networks = [network for entry in entries if (network := find_network(entry))]
    if not networks or host.endswith(_HUB):
        return False
    return any(address in network for address in _addresses(host) for network in networks)


def host_of(netloc: str) -> str:
    return urlsplit(f"//{netloc}").hostname or ""


def _addresses(host: str) -> list[Address]:
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # what can't be found, or be a name at all
        return []
    return [ipaddress.ip_address(str(place[0]).partition("%")[0]) for *_, place in found]
