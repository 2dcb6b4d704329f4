"""Which subnet a network gets when nobody says, and which address a container gets. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
)

from guest_agent.wire.errors import Forbidden, HostFailed, InvalidArgument

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Subnet = IPv4Network | IPv6Network

#: Docker's pools (172.17-31/16, 192.168.0/20 steps) from their far end, so that a docker beside us, which begins at
#: the near end, keeps its own; then corners of 10/8 that few sites use.
CANDIDATES = (
    *(f"172.{second}.0.0/16" for second in range(30, 17, -1)),
    *(f"192.168.{third}.0/20" for third in range(240, 0, -16)),
    *(f"10.{second}.0.0/16" for second in (213, 187, 151, 97, 201)),
)
#: Shorter ones are a default route in pieces (a VPN's 0.0.0.0/1 and 128.0.0.0/1), which leaves room for any subnet.
SHORTEST_CLASHING_PREFIX = 8
#: Network, broadcast, gateway and one container.
LONGEST_PREFIX = 30


def choose_subnet(taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first candidate that overlaps none of the taken ones."""
    found = find_subnet(taken)
    if found is None:
        raise HostFailed(
            "could not find an available, non-overlapping IPv4 address pool for the default network",
            hint='name a free one in the configuration: [engine] subnet = "10.99.0.0/16"',
        )
    return found


def find_subnet(taken: Iterable[IPv4Network]) -> IPv4Network | None:
    """The same; None where every candidate is taken."""
    clashing = [network for network in taken if network.prefixlen >= SHORTEST_CLASHING_PREFIX]
    for candidate in map(IPv4Network, CANDIDATES):
        if not any(candidate.overlaps(network) for network in clashing):
            return candidate
    return None


def parse_subnet(text: str) -> IPv4Interface:
    """The gateway's address in the subnet: the one given (`10.1.0.254/16`), or the subnet's first."""
    try:
        interface = IPv4Interface(text)
    except ValueError:
        raise _bad_subnet(text, "it isn't an IPv4 network like 10.99.0.0/16") from None
    if interface.network.prefixlen > LONGEST_PREFIX:
        raise _bad_subnet(text, f"a prefix of at most /{LONGEST_PREFIX} is needed")
    return gateway_of(interface.network) if interface.ip == interface.network.network_address else interface


def gateway_of(subnet: IPv4Network) -> IPv4Interface:
    return IPv4Interface((subnet[1], subnet.prefixlen))


def _bad_subnet(text: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"invalid subnet {text!r}: {why}", hint="see [engine] subnet in the configuration")


def mac_address(address: Address) -> str:
    """02:42 and the address, as docker does: an address that comes back finds the neighbours' tables still right."""
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x42, *address.packed[-4:]))


class AddressPool:
    """Hands out addresses round robin, and gives back to a container what it had.

    The kernel takes a dead container's interface away in its own time, so an address must rest before it is given to
    the next one.
    """

    def __init__(self, gateway: Interface, within: Subnet | None = None, reserved: Iterable[Address] = ()) -> None:
        """`within` is the part of the subnet that `take` chooses from; `reserved` are never given out."""
        self._network = gateway.network
        chosen = within or self._network
        self._reserved = {int(gateway.ip), *map(int, reserved)}
        self._used = set(self._reserved)
        edge = int(self._network.num_addresses > 2)  # a /31 has no addresses of its own (RFC 3021)
        self._first = max(int(chosen.network_address), int(self._network.network_address) + edge)
        self._last = min(int(chosen.broadcast_address), int(self._network.broadcast_address) - edge)
        self._next = self._first

    @property
    def subnet(self) -> Subnet:
        return self._network

    def take(self, last: str = "") -> Address:
        """`last` if it is free, which the container had before; else the next one. Raises HostFailed without any."""
        if last and self._can_give(ip_address(last)):
            self._used.add(int(ip_address(last)))
            return ip_address(last)
        for _ in range(min(len(self._used) + 1, self._last - self._first + 1)):
            candidate, self._next = self._next, self._after(self._next)
            if candidate not in self._used:
                self._used.add(candidate)
                return self._address(candidate)
        raise HostFailed(
            f"no available IPv{self._network.version} addresses on this network's address pools: {self._network}",
            hint="remove containers, or give the network a larger subnet",
        )

    def take_this(self, address: Address) -> None:
        """The one that the user wants. Raises Forbidden where somebody has it, as dockerd."""
        if int(address) in self._used:
            raise Forbidden("Address already in use")
        self._used.add(int(address))

    def claim(self, address: Address) -> None:
        """Marks one that a running container has; later ones come after it."""
        self._used.add(int(address))
        self._next = self._after(max(self._used))

    def give_back(self, address: Address) -> None:
        """Idempotent."""
        if int(address) not in self._reserved:
            self._used.discard(int(address))

    def _can_give(self, address: Address) -> bool:
        fits = address.version == self._network.version and self._first <= int(address) <= self._last
        return fits and int(address) not in self._used

    def _address(self, number: int) -> Address:
        return IPv4Address(number) if self._network.version == 4 else IPv6Address(number)

    def _after(self, address: int) -> int:
        return self._first if not self._first <= address < self._last else address + 1
