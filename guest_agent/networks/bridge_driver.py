"""Networks of the kind `bridge`: a bridge of the host's, and a veth to each member."""

from __future__ import annotations

import re
import secrets
from ipaddress import ip_address, ip_network

from guest_agent.linux import netlink
from guest_agent.linux.netlink import RouteSocket
from guest_agent.networks.bridge import have_ipv6, outgoing_mtu, raise_bridge, remove_link
from guest_agent.networks.drivers import Plug, flag, gateways, mtu_of
from guest_agent.networks.rules import BridgeRules
from guest_agent.wire.errors import Forbidden, InvalidArgument, Unsupported
from guest_agent.wire.networks import Network

NAME_OPTION = "com.docker.network.bridge.name"
ICC_OPTION = "com.docker.network.bridge.enable_icc"
MASQUERADE_OPTION = "com.docker.network.bridge.enable_ip_masquerade"
BINDING_OPTION = "com.docker.network.bridge.host_binding_ipv4"
#: IFNAMSIZ is 16 with the end of the string. The kernel takes more letters, which mean something in nft's language.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,15}")


class BridgeDriver:
    """The Driver of bridges. `owner` is written on each, so that two engines know their own."""

    reaches_host = True

    def __init__(self, route: RouteSocket, owner: str) -> None:
        self._route = route
        self._prefix = f"hostvm:{owner}:"

    def check(self, network: Network) -> None:
        for option in (ICC_OPTION, MASQUERADE_OPTION):
            flag(network, option, True)
        mtu_of(network, 0)
        host_binding(network)
        name = bridge_name(network)
        if not _NAME.fullmatch(name) or name in (".", ".."):
            raise InvalidArgument(f"invalid bridge name {name!r}: at most 15 letters, digits and any of . _ -")
        if network.ipv6 and not have_ipv6():
            raise Unsupported("this host's kernel has no IPv6", "leave --ipv6 out, or boot without ipv6.disable=1")

    def check_beside(self, network: Network, others: tuple[Network, ...]) -> None:
        """Two networks can't share a bridge."""
        for other in others:
            if other.driver == network.driver and bridge_name(other) == bridge_name(network):
                raise Forbidden(
                    f"cannot create network {network.id} ({bridge_name(network)}): conflicts with network "
                    f"{other.id} ({bridge_name(other)}): networks have same bridge name"
                )

    def ensure(self, network: Network) -> None:
        raise_bridge(self._route, bridge_name(network), gateways(network), self._prefix + network.id)

    def remove(self, network: Network) -> None:
        """Not what somebody else made: an interface of that name, or a bridge that was there before."""
        link = self._route.find_link(bridge_name(network))
        if link is not None and link.kind == "bridge" and link.alias == self._prefix + network.id:
            remove_link(self._route, link.name)

    def remove_others(self, networks: tuple[Network, ...]) -> None:
        known = {self._prefix + network.id for network in networks}
        for link in self._route.links():
            if link.kind == "bridge" and link.alias.startswith(self._prefix) and link.alias not in known:
                remove_link(self._route, link.name)

    def plug(self, network: Network, plug: Plug) -> str:
        """Once more with the bridge made again, in case somebody has deleted it."""
        try:
            return self._plug(network, plug)
        except OSError:
            self.ensure(network)
            return self._plug(network, plug)

    def _plug(self, network: Network, plug: Plug) -> str:
        links = self._route.links()
        bridge = next((link.index for link in links if link.name == bridge_name(network)), 0)
        if not bridge:
            raise OSError(f"the bridge {bridge_name(network)} is gone")
        name = f"veth{secrets.token_hex(4)}"
        mtu = mtu_of(network, outgoing_mtu(self._route, links))
        more = [netlink.plan_no_link_local(name)] if have_ipv6() else []
        if not flag(network, ICC_OPTION, True):
            more.append(netlink.plan_isolated(name))
        self._route.execute(
            netlink.plan_veth(name, bridge, plug.interface, plug.mac_address, plug.namespace, mtu),
            netlink.plan_hairpin(name),
            *more,
            netlink.plan_up(name),
        )
        return name


def bridge_name(network: Network) -> str:
    return network.options.get(NAME_OPTION) or f"br-{network.id[:12]}"


def host_binding(network: Network) -> str:
    """The host's address for ports that are published without one; "" = all."""
    text = network.options.get(BINDING_OPTION, "")
    try:
        return "" if not text or ip_address(text).is_unspecified else text
    except ValueError:
        raise InvalidArgument(f"failed to parse {BINDING_OPTION} value: {text} (nil ip)") from None


def rules_of(network: Network) -> BridgeRules:
    """What the firewall has to know of it."""
    return BridgeRules(
        bridge_name(network),
        tuple(ip_network(one.subnet) for one in network.ranges),
        masquerade=flag(network, MASQUERADE_OPTION, True),
        internal=network.internal,
    )
