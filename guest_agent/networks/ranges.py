"""The address ranges of a network that is to be made: checked and completed, in dockerd's words. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from guest_agent.networks.addresses import Address, Subnet, find_subnet
from guest_agent.wire.errors import Forbidden, InvalidArgument, NotFound
from guest_agent.wire.networks import AddressRange

OVERLAP = "invalid pool request: Pool overlaps with other one on this address space"
_NO_POOL = "could not find an available, non-overlapping IPv{} address pool among the defaults to assign to the network"
_NO_BLOCK = "invalid CIDR block notation"


def plan_ranges(asked: Sequence[AddressRange], ipv6: bool, taken: Iterable[Subnet], routed: Iterable[Subnet],
    seed: str) -> tuple[AddressRange, ...]:  # fmt: skip
    """Every range with its gateway; a family for which nothing was asked gets one of the default ranges.

    `taken` are the subnets of our other networks, which nobody may overlap; `routed` are known to this host, and only
    the defaults keep off them. `seed` makes an IPv6 default of our own. Raises InvalidArgument, Forbidden, NotFound.
    """
    check_ranges(asked, ipv6)
    others, avoided = tuple(taken), tuple(routed)
    wanted = [one for one in asked if ipv6 or ip_network(one.subnet, strict=False).version == 4]
    for position, one in enumerate(wanted):
        earlier = [ip_network(other.subnet) for other in wanted[:position]]
        if any(_overlap(ip_network(one.subnet), other) for other in (*others, *earlier)):
            raise Forbidden(OVERLAP)
    versions = {ip_network(one.subnet).version for one in wanted}
    if 4 not in versions:
        wanted.append(AddressRange(str(_default_ipv4((*others, *avoided)))))
    if ipv6 and 6 not in versions:
        wanted.append(AddressRange(str(_default_ipv6((*others, *avoided), seed))))
    return tuple(sorted(map(_with_gateway, wanted), key=lambda one: ip_network(one.subnet).version))


def find_idle(asked: Iterable[AddressRange]) -> tuple[AddressRange, ...]:
    """Those of IPv6, to which a network without IPv6 has no use. dockerd keeps them, and takes addresses in them."""
    return tuple(one for one in asked if ip_network(one.subnet, strict=False).version == 6)


def _overlap(one: Subnet, other: Subnet) -> bool:
    return one.version == other.version and one.overlaps(other)


def _default_ipv4(taken: Sequence[Subnet]) -> IPv4Network:
    found = find_subnet(one for one in taken if isinstance(one, IPv4Network))
    if found is None:
        raise NotFound(_NO_POOL.format(4), "name a free one: --subnet 10.99.0.0/16")
    return found


def _default_ipv6(taken: Sequence[Subnet], seed: str) -> IPv6Network:
    """A unique local prefix (RFC 4193) that is this engine's own, and the first free /64 of it."""
    prefix = b"\xfd" + hashlib.sha256(seed.encode()).digest()[:5]
    for number in range(1 << 16):
        candidate = IPv6Network((prefix + number.to_bytes(2) + bytes(8), 64))
        if not any(one.version == 6 and one.prefixlen > 8 and candidate.overlaps(one) for one in taken):
            return candidate
    raise NotFound(_NO_POOL.format(6))


def _with_gateway(one: AddressRange) -> AddressRange:
    """The one that was asked for, or the first address that containers could get. Raises Forbidden without one."""
    if one.gateway:
        return one
    subnet = ip_network(one.subnet)
    first = ip_network(one.ip_range).network_address if one.ip_range else subnet.network_address
    reserved = {int(ip_address(address)) for address in one.reserved.values()}
    candidate = int(first) + (first == subnet.network_address and subnet.num_addresses > 2)  # /31 and /32 have no edges
    while candidate in reserved:
        candidate += 1
    if candidate > int(subnet.broadcast_address):
        raise Forbidden(f"no available IPv{subnet.version} addresses on this network's address pools: {subnet}")
    return dataclasses.replace(one, gateway=str(type(first)(candidate)))


# -- checks


def check_ranges(asked: Iterable[AddressRange], ipv6: bool) -> None:
    """Raises InvalidArgument with everything that is wrong, a line each."""
    errors = [error for one in asked for error in _errors_of(one, ipv6)]
    if errors:
        raise InvalidArgument("\n".join(["invalid network config:", *errors]))


def _errors_of(one: AddressRange, ipv6: bool) -> Iterator[str]:
    subnet = _find_subnet(one.subnet)
    if subnet is None:
        yield f"invalid subnet {one.subnet}: {_NO_BLOCK}"
        return
    if subnet.version == 6 and not ipv6:
        return
    if str(subnet).partition("/")[0] != str(ip_address(one.subnet.partition("/")[0])):
        yield f"invalid subnet {one.subnet}: it should be {subnet}"
    if one.ip_range:
        yield from _errors_of_part(one.ip_range, subnet)
    if one.gateway and (error := _error_of_address(one.gateway, subnet)):
        yield f"invalid gateway {one.gateway}: {error}"
    for name, address in one.reserved.items():
        if error := _error_of_address(address, subnet):
            yield f"invalid auxiliary address {name}: {error}"


def _errors_of_part(text: str, subnet: Subnet) -> Iterator[str]:
    part = _find_subnet(text)
    if part is None:
        yield f"invalid ip-range {text}: {_NO_BLOCK}"
    elif part.version != subnet.version:
        yield f"invalid ip-range {text}: parent subnet is an IPv{subnet.version} block"
    else:
        if part.prefixlen < subnet.prefixlen:
            yield f"invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}"
        if str(part).partition("/")[0] != str(ip_address(text.partition("/")[0])):
            yield f"invalid ip-range {text}: it should be {part}"
        if not _overlap(part, subnet):
            yield f"invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range"


def _error_of_address(text: str, subnet: Subnet) -> str:
    address = find_address(text)
    if address is None:
        return "invalid address"
    if address.version != subnet.version:
        return f"parent subnet is an IPv{subnet.version} block"
    return "" if address in subnet else f"parent subnet {subnet} doesn't contain this address"


def _find_subnet(text: str) -> Subnet | None:
    """Host bits may be set; a prefix length must be there."""
    try:
        return ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def find_address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
