"""What a kind of network (`--driver`) has to be able to do, and the options that all kinds read."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_interface, ip_network
from typing import Protocol

from guest_agent.networks.addresses import Interface
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.go_numbers import parse_integer, parse_truth
from guest_agent.wire.networks import Network

MTU_OPTION = "com.docker.network.driver.mtu"


@dataclass(frozen=True, slots=True)
class Plug:
    """An interface that a container's namespace is to get; "" as MAC leaves it to the kernel."""

    interface: str
    mac_address: str
    namespace: int  #: a descriptor of it


class Driver(Protocol):
    """One kind of network in the kernel. May raise OSError and HostvmError. Used on the loop's thread."""

    #: Whether the host is on the network too: a gateway for its members, and published ports.
    reaches_host: bool

    def check(self, network: Network) -> None:
        """Raises InvalidArgument, Forbidden or Unsupported where its options make no sense or nothing here."""

    def check_beside(self, network: Network, others: tuple[Network, ...]) -> None:
        """Raises Forbidden where it can't be beside one of these."""

    def ensure(self, network: Network) -> None:
        """Makes what it needs in the kernel, or adopts a predecessor's. MUST be idempotent."""

    def remove(self, network: Network) -> None:
        """Takes that away. MUST be idempotent."""

    def remove_others(self, networks: tuple[Network, ...]) -> None:
        """Takes away what an engine of ours left of networks that aren't among these."""

    def plug(self, network: Network, plug: Plug) -> str:
        """Puts the interface, down and without addresses, into the namespace; the name of the host's end or ""."""


def gateways(network: Network) -> tuple[Interface, ...]:
    """The gateway of each range with the subnet's prefix, IPv4 first."""
    return tuple(ip_interface(f"{one.gateway}/{ip_network(one.subnet).prefixlen}") for one in network.ranges)


def flag(network: Network, option: str, default: bool) -> bool:
    """As Go's ParseBool. Raises InvalidArgument in dockerd's words."""
    text = network.options.get(option, "")
    if not text:
        return default
    try:
        return parse_truth(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"failed to parse {option} value: {text} ({error.message})") from None


def mtu_of(network: Network, default: int) -> int:
    """Raises InvalidArgument in dockerd's words."""
    text = network.options.get(MTU_OPTION, "")
    if not text:
        return default
    try:
        mtu = parse_integer(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"failed to parse {MTU_OPTION} value: {text} ({error.message})") from None
    if mtu < 0:
        raise InvalidArgument(f"invalid MTU number: {mtu}")
    return mtu or default
