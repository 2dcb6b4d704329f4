"""Networks that users make, and what they ask of a container's place in one: frozen, every default explicit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

#: The networks that there always are, and the word for the first of them.
BRIDGE, HOST, NONE, DEFAULT = "bridge", "host", "none", "default"
PREDEFINED = frozenset({BRIDGE, HOST, NONE, DEFAULT})


@dataclass(frozen=True, slots=True)
class AddressRange:
    """One entry of a network's IPAM configuration; addresses as text, "" = not said or there is none."""

    subnet: str  #: "172.30.0.0/16", "fd00:1::/64"
    gateway: str = ""  #: "172.30.0.1"
    ip_range: str = ""  #: the part of the subnet that addresses are taken from: "172.30.5.0/24"
    reserved: dict[str, str] = field(default_factory=dict)  #: name -> address that no container gets


@dataclass(frozen=True, slots=True)
class Network:
    """A network's record: complete, so that the kernel's side of it can be made again at any time."""

    id: str  #: 64 hex digits
    name: str
    driver: str
    created_ns: int
    ranges: tuple[AddressRange, ...] = ()  #: those of IPv4 first; gateways are filled in
    idle_ranges: tuple[AddressRange, ...] = ()  #: asked for in a network without IPv6: shown, and nobody gets any
    configured: bool = False  #: the user named the subnets, and so may name addresses
    internal: bool = False
    attachable: bool = False
    ipv6: bool = False
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    ipam_driver: str = "default"
    ipam_options: dict[str, str] | None = None  #: None and {} are two things in docker's answers
    config_only: bool = False
    config_from: str = ""


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """What a user asked for when a container was to be connected to a network; "" leaves the choice to the engine."""

    network: str  #: its name; as the user wrote it until the container is made
    network_id: str = ""
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()  #: "container:alias"
    address: str = ""
    address6: str = ""
    link_local: tuple[str, ...] = ()  #: further addresses, of either family
    mac_address: str = ""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def has_ipam(self) -> bool:
        return bool(self.address or self.address6 or self.link_local)


def list_complaints(errors: Sequence[str]) -> str:
    """As dockerd joins what is wrong with an endpoint's settings."""
    bullet = "* " if len(errors) > 1 else ""
    return "\n".join(["invalid endpoint settings:", *(f"{bullet}{error}" for error in errors)])
