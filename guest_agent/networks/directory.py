"""Who is called what, in which network, for whom: what the name servers inside of containers answer from. Pure.

A name is asked for as it is, or as `name.network`; in each network several members may have it (`--network-alias`).
A container's links are names that only this container knows, for members of the network that the link belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from guest_agent.wire.models import Endpoint
from guest_agent.wire.networks import BRIDGE


@dataclass(frozen=True, slots=True)
class Found:
    """The addresses of the asked family; () where the name is known, but has only the other family's."""

    addresses: tuple[str, ...]


class Directory:
    """The endpoints of every container that runs, by network and by container."""

    def __init__(self) -> None:
        self._members: dict[str, dict[str, Endpoint]] = {}  #: network id -> container id -> endpoint

    def enter(self, container_id: str, endpoint: Endpoint) -> None:
        """Or replaces what was said of it before."""
        self._members.setdefault(endpoint.network_id, {})[container_id] = endpoint

    def leave(self, container_id: str, network_id: str) -> None:
        """Idempotent."""
        members = self._members.get(network_id, {})
        members.pop(container_id, None)
        if not members:
            self._members.pop(network_id, None)

    def has_members(self, network_id: str) -> bool:
        return network_id in self._members

    def may_ask_outside(self, container_id: str) -> bool:
        """Not from internal networks alone: names would carry anything out."""
        mine = [members[container_id] for members in self._members.values() if container_id in members]
        return not mine or any(not one.internal for one in mine)

    def find(self, container_id: str, name: str, version: int) -> Found | None:
        """None: nobody is called that in the networks of this container."""
        wanted = name.rstrip(".").lower()
        for endpoint in self._mine(container_id):
            for bare in _spellings(wanted, endpoint.network):
                found = self._in_network(endpoint, _linked(endpoint, bare))
                if found:
                    return Found(tuple(filter(None, (_address(one, version) for one in found))))
        return None

    def reverse(self, container_id: str, address: str) -> str:
        """ "name.network" of who has the address, "" where nobody has."""
        for endpoint in self._mine(container_id) if address else ():
            for one in self._members[endpoint.network_id].values():
                if one.names and address in (one.address, one.address6 and str(ip_address(one.address6))):
                    return f"{one.names[0]}.{one.network}"
        return ""

    def _mine(self, container_id: str) -> Iterator[Endpoint]:
        """In the order in which they are asked: by the network's name."""
        mine = [members[container_id] for members in self._members.values() if container_id in members]
        yield from sorted((one for one in mine if one.network != BRIDGE), key=lambda one: one.network)

    def _in_network(self, endpoint: Endpoint, name: str) -> list[Endpoint]:
        members = self._members[endpoint.network_id].values()
        return [one for one in members if any(name == known.lower() for known in one.names)]


def _spellings(name: str, network: str) -> tuple[str, ...]:
    """The name, and the name without the network's behind it."""
    tail = f".{network.lower()}"
    return (name, name.removesuffix(tail)) if name.endswith(tail) else (name,)


def _linked(endpoint: Endpoint, name: str) -> str:
    """What the container's links make of it: "database:db" means the member `database`."""
    for link in endpoint.links:
        target, _, alias = link.partition(":")
        if name == (alias or target).lower():
            return target.lower()
    return name


def _address(endpoint: Endpoint, version: int) -> str:
    return endpoint.address if version == 4 else endpoint.address6
