"""The network `bridge`, which containers are on when nobody says otherwise: the shortest way to a container's wire."""

from __future__ import annotations

import dataclasses
import secrets
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from guest_agent.linux.netlink import RouteSocket
from guest_agent.networks.addresses import AddressPool
from guest_agent.networks.bridge import DEFAULT_ALIAS, Bridge, ensure_bridge, remove_link
from guest_agent.networks.bridge_driver import BINDING_OPTION, ICC_OPTION, MASQUERADE_OPTION, NAME_OPTION
from guest_agent.networks.drivers import MTU_OPTION
from guest_agent.networks.endpoints import Wire, make_wire
from guest_agent.networks.name_service import NameService
from guest_agent.networks.rules import BridgeRules
from guest_agent.networks.settings import NetworkSettings
from guest_agent.wire.errors import HostFailed
from guest_agent.wire.models import Endpoint
from guest_agent.wire.networks import BRIDGE, AddressRange, Network


@dataclasses.dataclass(frozen=True, slots=True)
class NetworkAttachment:
    """A container's endpoint and its namespace, whose descriptor the caller owns."""

    endpoint: Endpoint
    namespace: int


class DefaultNetwork:
    """Made at every start of the engine from its settings; it has no record. All of it may raise OSError."""

    def __init__(self, route: RouteSocket, settings: NetworkSettings, names: NameService) -> None:
        self._route = route
        self._settings = settings
        self._names = names
        self._bridge: Bridge | None = None
        self._pool: AddressPool | None = None
        self.id = settings.network_id(BRIDGE)

    def ensure(self) -> None:
        """Idempotent. Whatever happens to the bridge later, it comes back with the same subnet."""
        self._bridge = ensure_bridge(self._route, self._settings, self._name_servers())
        self._settings = dataclasses.replace(self._settings, subnet=str(self._bridge.gateway))
        self._pool = self._pool or AddressPool(self._bridge.gateway)

    def remove(self) -> None:
        """The bridge, unless it was there before. Idempotent."""
        link = self._route.find_link(self._settings.bridge)
        if link is not None and link.kind == "bridge" and link.alias == DEFAULT_ALIAS:
            remove_link(self._route, link.name)

    def connect(self, last: str) -> NetworkAttachment:
        """A namespace with lo, and eth0 on the bridge, with the address `last` if it is free. All or nothing."""
        address = self.pool.take(last)
        assert isinstance(address, IPv4Address)
        try:
            wire = self._make_wire(IPv4Interface((address, self.gateway.network.prefixlen)))
        except BaseException:
            self.pool.give_back(address)
            raise
        return NetworkAttachment(self._endpoint(address, wire), wire.namespace)

    @property
    def pool(self) -> AddressPool:
        return self._running[1]

    @property
    def gateway(self) -> IPv4Interface:
        return self._running[0].gateway

    @property
    def gateway_text(self) -> str:
        return str(self._bridge.gateway.ip) if self._bridge else ""

    @property
    def rules(self) -> BridgeRules:
        return BridgeRules(self._settings.bridge, (self.gateway.network,))

    @property
    def record(self) -> Network:
        """As if a user had made it."""
        bridge, gateway = self._running[0], self.gateway
        options = {
            "com.docker.network.bridge.default_bridge": "true",
            ICC_OPTION: "true",
            MASQUERADE_OPTION: "true",
            BINDING_OPTION: "0.0.0.0",
            NAME_OPTION: self._settings.bridge,
            MTU_OPTION: str(bridge.mtu),
        }
        ranges = (AddressRange(str(gateway.network), str(gateway.ip)),)
        return Network(self.id, BRIDGE, "bridge", 0, ranges, options=options)

    @property
    def _running(self) -> tuple[Bridge, AddressPool]:
        if self._bridge is None or self._pool is None:
            raise HostFailed("the default network isn't set up")
        return self._bridge, self._pool

    def _make_wire(self, address: IPv4Interface) -> Wire:
        """Once more with the bridge made again, in case somebody has deleted it."""
        try:
            return make_wire(self._route, self._running[0], address)
        except OSError:
            self.ensure()
            return make_wire(self._route, self._running[0], address)

    def _endpoint(self, address: IPv4Address, wire: Wire) -> Endpoint:
        return Endpoint(
            network=BRIDGE,
            network_id=self.id,
            endpoint_id=secrets.token_hex(32),
            address=str(address),
            prefix_length=self.gateway.network.prefixlen,
            gateway=str(self.gateway.ip),
            mac_address=wire.mac_address,
            host_interface=wire.host_interface,
        )

    def _name_servers(self) -> list[IPv4Network]:
        """The bridge must not cover them, even if no route tells of them."""
        return [IPv4Network(server) for server in self._names.host_settings().servers if ":" not in server]
