"""Networks of the kinds `macvlan` and `ipvlan`: members are on the parent interface's own network, without the host.

A parent that isn't there is made: `eth0.10` is VLAN 10 of eth0; without a parent it is a link that leads nowhere.
"""

from __future__ import annotations

import errno
import hashlib
import secrets

from guest_agent.linux import netlink, netlink_vlans
from guest_agent.linux.netlink import Request, RouteSocket
from guest_agent.networks.drivers import Plug, mtu_of
from guest_agent.networks.sandbox import routing_inside
from guest_agent.wire.errors import Forbidden, HostFailed, InvalidArgument, Unsupported
from guest_agent.wire.networks import Network

PARENT_OPTION = "parent"
MODES = {
    "macvlan": {"bridge": 4, "private": 1, "vepa": 2, "passthru": 8},
    "ipvlan": {"l2": 0, "l3": 1, "l3s": 2},
}
_DEFAULT_MODE = {"macvlan": "bridge", "ipvlan": "l2"}


class VlanDriver:
    """The Driver of one of the two kinds."""

    reaches_host = False

    def __init__(self, route: RouteSocket, kind: str, owner: str) -> None:
        self._route = route
        self._kind = kind
        self._prefix = f"hostvm:{owner}:"

    def check(self, network: Network) -> None:
        mtu_of(network, 0)
        mode_of(network)
        if parent_of(network) == "lo":
            raise InvalidArgument(f"loopback interface is not a valid {self._kind} parent link")

    def check_beside(self, network: Network, others: tuple[Network, ...]) -> None:
        """Two networks can't share a parent: their members would be on one network in spite of it."""
        for other in others:
            if other.driver == network.driver and parent_of(other) == parent_of(network):
                raise Forbidden(f"network {other.id} is already using parent interface {parent_of(network)}")

    def ensure(self, network: Network) -> None:
        """The parent; whether the kernel knows this kind at all is tried here, once."""
        parent = parent_of(network)
        if self._route.find_link(parent) is None:
            self._make_parent(network, parent)
        self._probe(parent)

    def remove(self, network: Network) -> None:
        link = self._route.find_link(parent_of(network))
        if link is not None and link.alias == self._prefix + network.id:
            self._route.execute(netlink.plan_delete_link(link.name))

    def remove_others(self, networks: tuple[Network, ...]) -> None:
        known = {self._prefix + network.id for network in networks}
        for link in self._route.links():
            if link.kind in ("vlan", "dummy") and link.alias.startswith(self._prefix) and link.alias not in known:
                self._route.execute(netlink.plan_delete_link(link.name))

    def plug(self, network: Network, plug: Plug) -> str:
        parent = self._parent_index(parent_of(network))
        mode = MODES[self._kind][mode_of(network)]
        mac = plug.mac_address if self._kind == "macvlan" else ""
        mtu = mtu_of(network, 0)
        # Asked for by the name that it is to have, the kernel would find the host's own eth0 in its way.
        passing = f"hv{secrets.token_hex(5)}"
        self._route.execute(netlink_vlans.plan_child(self._kind, passing, parent, mode, plug.namespace, mac, mtu))
        with routing_inside(plug.namespace) as inner:
            link = inner.find_link(passing)
            if link is not None:
                inner.execute(netlink.plan_rename(link.index, plug.interface))
        return ""

    def _make_parent(self, network: Network, parent: str) -> None:
        kind = "vlan" if network.options.get(PARENT_OPTION) else "dummy"
        request = self._plan_vlan(parent) if kind == "vlan" else netlink_vlans.plan_dummy(parent)
        try:
            self._route.execute(request)
        except OSError as failure:
            raise _refused(failure, kind, "name a parent interface that is there: -o parent=eth0") from failure
        self._route.execute(netlink.plan_alias(parent, self._prefix + network.id), netlink.plan_up(parent))

    def _plan_vlan(self, parent: str) -> Request:
        base, dot, tag = parent.rpartition(".")
        if not dot:
            raise InvalidArgument(f"the requested parent interface {parent} was not found on the host")
        if not (tag.isdigit() and 0 < int(tag) < 4095):
            raise InvalidArgument(f"invalid subinterface vlan name {parent}, example formatting is eth0.10")
        return netlink_vlans.plan_vlan(parent, self._parent_index(base), int(tag))

    def _parent_index(self, parent: str) -> int:
        link = self._route.find_link(parent)
        if link is None:
            raise InvalidArgument(f"the requested parent interface {parent} was not found on the host")
        return link.index

    def _probe(self, parent: str) -> None:
        """A child that is made and taken away again: networks of this kind can't be used where that fails."""
        name = f"try{secrets.token_hex(4)}"
        mode = MODES[self._kind][_DEFAULT_MODE[self._kind]]
        try:
            self._route.execute(netlink_vlans.plan_child(self._kind, name, self._parent_index(parent), mode))
        except OSError as failure:
            if failure.errno == errno.EBUSY:  # the parent has children of a mode that allows no others
                return
            raise _refused(failure, self._kind, f"modprobe {self._kind}") from failure
        self._route.execute(netlink.plan_delete_link(name))


def _refused(failure: OSError, kind: str, hint: str) -> HostFailed | Unsupported:
    if failure.errno == errno.EOPNOTSUPP:
        return Unsupported(f"this kernel can't make {kind} interfaces", hint)
    return HostFailed(f"can't make a {kind} interface: {failure.strerror}")


def parent_of(network: Network) -> str:
    """The parent interface; a made-up name where the network has none."""
    return network.options.get(PARENT_OPTION) or f"dm-{hashlib.sha256(network.id.encode()).hexdigest()[:12]}"


def mode_of(network: Network) -> str:
    """Raises InvalidArgument in dockerd's words."""
    kind = network.driver
    mode = network.options.get(f"{kind}_mode", "") or network.options.get("mode", "") or _DEFAULT_MODE[kind]
    if mode not in MODES[kind]:
        raise InvalidArgument(
            f"requested {kind} mode '{mode}' is not valid, '{_DEFAULT_MODE[kind]}' mode is the default"
        )
    return mode


def routes_by_link(network: Network) -> bool:
    """ipvlan in its routed modes knows no neighbours: everything goes out by the interface."""
    return network.driver == "ipvlan" and mode_of(network) != "l2"
