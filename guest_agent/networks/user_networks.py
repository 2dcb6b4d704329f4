"""The networks that users made: record first, then the kernel's side of it, which can be made again at any time."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network

from guest_agent.linux.netlink import RouteSocket
from guest_agent.networks import membership
from guest_agent.networks.addresses import AddressPool, Subnet
from guest_agent.networks.bridge import have_ipv6
from guest_agent.networks.bridge_driver import BridgeDriver, bridge_name, rules_of
from guest_agent.networks.default_network import DefaultNetwork
from guest_agent.networks.drivers import Driver, Plug
from guest_agent.networks.membership import Membership
from guest_agent.networks.ranges import find_idle, plan_ranges
from guest_agent.networks.rules import BridgeRules
from guest_agent.networks.store import NetworkStore
from guest_agent.networks.vlan_driver import VlanDriver
from guest_agent.wire.errors import Forbidden, HostvmError, NotFound
from guest_agent.wire.models import Endpoint
from guest_agent.wire.networks import AddressRange, Network

log = logging.getLogger(__name__)


class UserNetworks:
    """All of them, and the default one where it is treated as one of them. Used on the loop's thread."""

    def __init__(self, route: RouteSocket, store: NetworkStore, default: DefaultNetwork, owner: str) -> None:
        self._route = route
        self._store = store
        self._default = default
        self._owner = owner
        self._drivers: Mapping[str, Driver] = {
            "bridge": BridgeDriver(route, owner),
            "macvlan": VlanDriver(route, "macvlan", owner),
            "ipvlan": VlanDriver(route, "ipvlan", owner),
        }
        self._pools: dict[str, tuple[AddressPool, ...]] = {}
        self.trouble: tuple[str, ...] = ()  #: for `info`

    def start(self) -> None:
        """What the records say is there, and nothing else of ours. One that can't be made keeps no engine down."""
        troubles = list(self._store.warnings)
        known = (self._default.record, *self.all())
        for driver in self._drivers.values():
            driver.remove_others(known)
        for network in self.all():
            self._pools[network.id] = membership.make_pools(network)
            try:
                self._driver(network).ensure(network)
            except (HostvmError, OSError) as failure:
                log.warning("network %s can't be set up: %s", network.name, failure)
                troubles.append(f"network {network.name} can't be set up: {failure}")
        self.trouble = tuple(troubles)

    def remove_all(self) -> None:
        """Takes them out of the kernel; the records stay. Idempotent."""
        for network in self.all():
            self._driver(network).remove(network)

    # -- networks

    def all(self) -> tuple[Network, ...]:
        """Oldest first, without the default one."""
        return tuple(one for one in self._store.all() if not one.config_only)

    def records(self) -> tuple[Network, ...]:
        """The same with those that are nothing but a configuration for others."""
        return self._store.all()

    def get(self, network_id: str) -> Network:
        """Raises NotFound."""
        if network_id == self._default.id:
            return self._default.record
        found = self._store.get(network_id)
        if found is None:
            raise NotFound(f"network {network_id} not found")
        return found

    def create(self, asked: Network) -> Network:
        """Completed, checked, stored, made. Nothing is left when it fails."""
        if asked.config_only:
            self._store.save(asked)
            return asked
        driver = self._driver(asked)
        driver.check(asked)
        network = dataclasses.replace(
            asked,
            ranges=self._plan_ranges(asked),
            idle_ranges=() if asked.ipv6 else find_idle(asked.ranges),
            configured=bool(asked.ranges),
        )
        driver.check_beside(network, (self._default.record, *self.all()))
        self._store.save(network)
        try:
            driver.ensure(network)
        except BaseException:
            self._undo_create(driver, network)
            raise
        self._pools[network.id] = membership.make_pools(network)
        return network

    def remove(self, network: Network) -> None:
        """From the kernel, then its record. Whether somebody uses it is the caller's to know."""
        if not network.config_only:
            self._driver(network).remove(network)
        self._store.forget(network.id)
        self._pools.pop(network.id, None)

    def bridges(self) -> list[BridgeRules]:
        return [rules_of(network) for network in self.all() if network.driver == "bridge"]

    def bridge_of(self, network: Network) -> str:
        """ "" where it has none."""
        return bridge_name(network) if network.driver == "bridge" else ""

    def find_publishing(self, network_ids: Iterable[str]) -> Network | None:
        """The one by which a container that is on these publishes its ports; see `publishing_endpoint`."""
        networks = [self.get(network_id) for network_id in network_ids]
        able = [one for one in networks if self._driver(one).reaches_host and not one.internal]
        return min(able, key=lambda one: one.name, default=None)

    # -- members

    def admit(self, member: Membership, taken: Iterable[str]) -> Endpoint:
        """Gives addresses. `taken` are the interfaces that the container has."""
        network = self.get(member.settings.network_id)
        membership.check_settings(network, member.settings)
        addresses = membership.take_addresses(self._pools_of(network.id), member)
        return membership.plan_endpoint(network, member, addresses, taken)

    def dismiss(self, endpoint: Endpoint) -> None:
        """Takes the addresses back. Idempotent."""
        for text in filter(None, (endpoint.address, endpoint.address6)):
            membership.give_back(self._pools_of(endpoint.network_id), ip_address(text))

    def claim(self, endpoint: Endpoint) -> None:
        """At start-up: a container that runs has these."""
        membership.claim(self._pools_of(endpoint.network_id), endpoint)

    def plug(self, endpoint: Endpoint, namespace: int) -> Endpoint:
        """Puts the endpoint's interface into the namespace, still without addresses. Raises OSError."""
        network = self.get(endpoint.network_id)
        plug = Plug(endpoint.interface, endpoint.mac_address, namespace)
        return dataclasses.replace(endpoint, host_interface=self._driver(network).plug(network, plug))

    # -- doing

    def _driver(self, network: Network) -> Driver:
        driver = self._drivers.get(network.driver)
        if driver is None:
            raise _refused_driver(network.driver)
        return driver

    def _pools_of(self, network_id: str) -> Sequence[AddressPool]:
        """None for a network that is gone."""
        return (self._default.pool,) if network_id == self._default.id else self._pools.get(network_id, ())

    def _plan_ranges(self, asked: Network) -> tuple[AddressRange, ...]:
        networks = (self._default.record, *self.all())
        taken = [ip_network(one.subnet) for network in networks for one in network.ranges]
        return plan_ranges(asked.ranges, asked.ipv6, taken, self._routed(), self._owner)

    def _routed(self) -> list[Subnet]:
        routes: list[Subnet] = [where for where, _ in self._route.routes()]
        return routes + ([where for where, _ in self._route.routes6()] if have_ipv6() else [])

    def _undo_create(self, driver: Driver, network: Network) -> None:
        try:
            driver.remove(network)
        except OSError as failure:
            log.warning("network %s can't be taken away: %s", network.name, failure)
        self._store.forget(network.id)


def _refused_driver(name: str) -> HostvmError:
    if name in ("host", "null"):
        return Forbidden(f'only one instance of "{name}" network is allowed')
    if name == "overlay":
        return Forbidden(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node '
            "to swarm and try again."
        )
    return NotFound(f'plugin "{name}" not found', "there are bridge, macvlan and ipvlan")
