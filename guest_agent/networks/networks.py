"""All of a container's networking behind one door.

The order in a start: `reserve` (a taken port is an error before anything is made) -> `connect` -> `activate`; in an
end: `release` and `disconnect`, in any order, both idempotent. The namespace goes away when its last process, and the
last descriptor of it, is gone.

Everything takes a millisecond or two, and must be called on the event loop's thread while it runs. What concerns ports
is asynchronous, since inside a machine they are held on its host; natively it waits for nothing. Failures of the kernel
come out as HostFailed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from guest_agent.linux.netlink import RouteSocket
from guest_agent.linux.nftables import Nftables, NftablesError
from guest_agent.networks import rules
from guest_agent.networks.addresses import AddressPool
from guest_agent.networks.bridge import Bridge, ensure_bridge, remove_bridge
from guest_agent.networks.coexistence import forget_bridge, let_bridge_through
from guest_agent.networks.endpoints import Wire, make_wire, open_loopback_namespace
from guest_agent.networks.exposure import HostExposure, LeasedExposure, NothingToExpose
from guest_agent.networks.gateway import PortGateway
from guest_agent.networks.leases import LeaseGateway
from guest_agent.networks.local_ports import LocalGateway
from guest_agent.networks.name_service import NameService
from guest_agent.networks.names import (
    ResolverSettings,
    plan_host_network_hosts,
    plan_hosts,
    plan_resolver,
    with_host_names,
)
from guest_agent.networks.publisher import Publisher, Reservation
from guest_agent.networks.settings import DescriptorHolder, NetworkSettings
from guest_agent.networks.streams import CHUNK
from guest_agent.networks.watch import RulesetWatch
from guest_agent.wire.errors import HostFailed
from guest_agent.wire.models import Endpoint, PortBinding, PublishedPort

BRIDGE, HOST, NONE = "bridge", "host", "none"
Live = Mapping[str, tuple[tuple[Endpoint, ...], tuple[PublishedPort, ...]]]


@dataclass(frozen=True, slots=True)
class NetworkAttachment:
    """A container's endpoint and its namespace, whose descriptor the caller owns."""

    endpoint: Endpoint
    namespace: int


@dataclass(frozen=True, slots=True)
class NetworkDescription:
    """A network as `network ls` and `inspect` show it; subnet and gateway are "" for `host` and `none`."""

    id: str
    name: str
    driver: str
    subnet: str = ""
    gateway: str = ""
    bridge: str = ""
    mtu: int = 0


class Networks:
    """The networks of one engine."""

    def __init__(self, settings: NetworkSettings, holder: DescriptorHolder) -> None:
        buffer = bytearray(CHUNK)
        self._settings = settings
        self._route = RouteSocket()
        self._nftables = _open_nftables()
        self._ports, self._exposure = _open_ports(settings, holder, buffer)
        self._publisher = Publisher(self._nftables, settings.table, holder, self._ports)
        self._names = NameService(settings, holder, buffer)
        self._watch: RulesetWatch | None = None
        self._bridge: Bridge | None = None
        self._pool: AddressPool | None = None
        self._lost_ports: tuple[str, ...] = ()
        self._firewall_trouble: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """For `info`: what doesn't work as it should, and what to do."""
        return self._lost_ports + self._ports.warnings + self._firewall_trouble

    # -- the engine's life

    def start(self) -> None:
        """Idempotent: makes what is missing, adopts what a predecessor left. Maps keep leading where they led."""
        with _translated("set up the default network"):
            self._ensure_bridge()
            self._ensure_table()
            self._watch = self._watch or RulesetWatch(self._rules_changed)
        self._let_through()

    def reconcile(self, live: Live) -> None:
        """After `start`: everything of these containers is as before, everything of others is forgotten.

        To be called once, with every container that has a process, whether or not it has ports.
        """
        failures = []
        with _translated("restore the networks"):
            for container_id, (endpoints, ports) in live.items():
                address = next((endpoint.address for endpoint in endpoints if endpoint.address), "")
                if address:
                    self._addresses.claim(IPv4Address(address))
                    failures += self._publisher.adopt(container_id, address, ports)
            self._publisher.forget_others(live)
            self._exposure.adopt(_on_host_network(live))
            self._names.adopt(live)
            self._publisher.rebuild()
        self._lost_ports = tuple(failure.message for failure in failures)

    def close(self) -> None:
        """The engine ends: running containers keep their network and their IPv4 ports. May be called twice."""
        if self._watch:
            self._watch.close()
        self._publisher.close()
        self._exposure.close()
        self._names.close()
        self._nftables.close()
        self._route.close()

    async def remove_all(self) -> None:
        """Takes everything out of the kernel, and closes. For when no container is left; idempotent."""
        if self._watch:
            self._watch.close()
        with _translated("remove the default network"):
            await self._publisher.release_all()
            self._names.adopt(())
            self._nftables.run(rules.plan_remove_table(self._settings.table))
            forget_bridge(self._nftables, self._settings.bridge)
            remove_bridge(self._route, self._settings.bridge)
        self.close()

    # -- a container's life

    def connect(self, container_id: str, hostname: str = "") -> NetworkAttachment:
        """A namespace with lo, and eth0 on the bridge. Nothing is left when it fails.

        The default network answers no names, so it doesn't need the host's name; networks that do will.
        """
        with _translated(f"connect container {container_id[:12]} to the default network"):
            address = self._addresses.take()
            try:
                wire = self._make_wire(IPv4Interface((address, self._gateway.network.prefixlen)))
            except BaseException:
                self._addresses.give_back(address)
                raise
        return NetworkAttachment(self._endpoint(address, wire), wire.namespace)

    def loopback_only(self) -> int:
        """The network `none`: a descriptor of a namespace with lo; the caller owns it."""
        with _translated("make a network namespace"):
            return open_loopback_namespace()

    def join_host(self, container_id: str) -> Endpoint:
        """The network `host`: what the container listens on is reached where the user is, until `disconnect`."""
        self._exposure.enter(container_id)
        return self.static_endpoint(HOST)

    def disconnect(self, container_id: str, endpoint: Endpoint) -> None:
        """Forgets the endpoint's address and stops answering names for it. Idempotent."""
        self._names.stop(container_id)
        self._exposure.leave(container_id)
        if endpoint.address:
            self._addresses.give_back(IPv4Address(endpoint.address))

    async def reserve(self, container_id: str, bindings: Iterable[PortBinding], name: str = "") -> Reservation:
        """Binds all the ports or none. Raises AddressInUse in docker's words; `name` is the container's in them."""
        with _translated("publish ports"):
            return await self._publisher.reserve(container_id, name or container_id[:12], bindings)

    async def activate(self, reservation: Reservation, address: str) -> None:
        """Leads the reserved ports to that address. Idempotent; on failure they stay reserved."""
        with _translated("publish ports"):
            await self._publisher.activate(reservation.container_id, address)

    async def publish(
        self, container_id: str, address: str, bindings: Iterable[PortBinding]
    ) -> tuple[PublishedPort, ...]:
        """`reserve` and `activate` in one; nothing is held when it fails."""
        reservation = await self.reserve(container_id, bindings)
        try:
            await self.activate(reservation, address)
        except BaseException:
            await self.release(container_id)
            raise
        return reservation.ports

    async def release(self, container_id: str) -> None:
        """Frees the container's ports. Idempotent."""
        with _translated("release ports"):
            await self._publisher.release(container_id)

    # -- names

    def resolver(
        self,
        mode: str = BRIDGE,
        servers: tuple[str, ...] = (),
        search: tuple[str, ...] = (),
        options: tuple[str, ...] = (),
    ) -> ResolverSettings:
        """The container's resolver settings: `.text()` is its resolv.conf; if `.wants_forwarder`, `forward_names`."""
        asked = ResolverSettings(servers, search, options)
        if mode == HOST:
            return plan_resolver(self._names.raw_host_settings(), asked, own_namespace=False)
        return plan_resolver(self._names.host_settings(), asked, own_namespace=True)

    def forward_names(self, container_id: str, namespace: int) -> None:
        """Answers name queries at 127.0.0.11 inside that namespace until `disconnect`."""
        with _translated("open the name server of the container"):
            self._names.serve(container_id, namespace)

    def hosts_file(
        self, mode: str, hostname: str, address: str = "", extra: Iterable[str] = (), domainname: str = ""
    ) -> str:
        """The container's /etc/hosts; `extra` are "name:address" with docker's `host-gateway`."""
        host = self._settings.host_address
        if mode == HOST:
            return plan_host_network_hosts(_read_hosts(), with_host_names(extra, host), host or "127.0.0.1")
        named = with_host_names(extra, host if address else "")
        return plan_hosts(hostname, address, named, host or self._gateway_text, domainname)

    # -- views

    def descriptions(self) -> tuple[NetworkDescription, ...]:
        """The three networks that there always are, in `network ls`'s order."""
        identify, bridge = self._settings.network_id, self._bridge
        return (
            NetworkDescription(
                identify(BRIDGE),
                BRIDGE,
                "bridge",
                str(bridge.gateway.network) if bridge else "",
                self._gateway_text,
                self._settings.bridge,
                bridge.mtu if bridge else 0,
            ),
            NetworkDescription(identify(HOST), HOST, "host"),
            NetworkDescription(identify(NONE), NONE, "null"),
        )

    def static_endpoint(self, mode: str) -> Endpoint:
        """The endpoint of a container on `host` or `none`: no addresses."""
        return Endpoint(mode, self._settings.network_id(mode), secrets.token_hex(32))

    # -- doing

    @property
    def _gateway(self) -> IPv4Interface:
        return self._running[0].gateway

    @property
    def _gateway_text(self) -> str:
        return str(self._bridge.gateway.ip) if self._bridge else ""

    @property
    def _addresses(self) -> AddressPool:
        return self._running[1]

    @property
    def _running(self) -> tuple[Bridge, AddressPool]:
        if self._bridge is None or self._pool is None:
            raise HostFailed("the default network isn't set up")
        return self._bridge, self._pool

    def _ensure_bridge(self) -> None:
        """Whatever happens to the bridge later, it comes back with the same subnet."""
        self._bridge = ensure_bridge(self._route, self._settings, self._name_servers())
        self._settings = dataclasses.replace(self._settings, subnet=str(self._bridge.gateway))
        self._pool = self._pool or AddressPool(self._bridge.gateway)

    def _ensure_table(self) -> None:
        names = (self._settings.table, self._settings.bridge, self._gateway.network)
        try:
            self._nftables.run(rules.plan_table(*names))
        except NftablesError:
            self._nftables.run(rules.plan_new_table(*names))

    def _let_through(self) -> None:
        try:
            let_bridge_through(self._nftables, self._settings.bridge)
            self._firewall_trouble = ()
        except HostFailed as failure:
            self._firewall_trouble = (f"{failure.message}; {failure.hint}",)

    def _rules_changed(self) -> None:
        """Somebody touched the firewall: what is missing comes back, and ports are relayed until it does."""
        self._let_through()
        if not self._have_table():
            try:
                self._ensure_table()
                self._publisher.rebuild()
            except NftablesError as failure:
                self._firewall_trouble += (f"the firewall's rules were removed and can't be restored: {failure}",)

    def _have_table(self) -> bool:
        try:
            self._nftables.run(f"list chain ip {self._settings.table} forward")
        except NftablesError:
            return False
        return True

    def _make_wire(self, address: IPv4Interface) -> Wire:
        """Once more with the bridge made again, in case somebody has deleted it."""
        try:
            return make_wire(self._route, self._running[0], address)
        except OSError:
            self._ensure_bridge()
            return make_wire(self._route, self._running[0], address)

    def _endpoint(self, address: IPv4Address, wire: Wire) -> Endpoint:
        return Endpoint(
            network=BRIDGE,
            network_id=self._settings.network_id(BRIDGE),
            endpoint_id=secrets.token_hex(32),
            address=str(address),
            prefix_length=self._gateway.network.prefixlen,
            gateway=str(self._gateway.ip),
            mac_address=wire.mac_address,
            host_interface=wire.host_interface,
        )

    def _name_servers(self) -> list[IPv4Network]:
        """The bridge must not cover them, even if no route tells of them."""
        return [IPv4Network(server) for server in self._names.host_settings().servers if ":" not in server]


def _open_ports(
    settings: NetworkSettings, holder: DescriptorHolder, buffer: bytearray
) -> tuple[PortGateway, HostExposure]:
    """Whose ports are published: this kernel's, or those of the host that the machine runs on."""
    if not settings.lease_socket:
        return LocalGateway(buffer), NothingToExpose()
    leases = LeaseGateway(settings.lease_socket)
    return leases, LeasedExposure(leases, holder)


def _on_host_network(live: Live) -> list[str]:
    return [identity for identity, (endpoints, _) in live.items() if any(one.network == HOST for one in endpoints)]


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except NftablesError as failure:
        text = str(failure).partition("\n")[0]
        raise HostFailed(f"can't {what}: nftables: {text}", hint="is the kernel's nf_tables module there?") from failure
    except OSError as failure:
        reason = failure.strerror or (os.strerror(failure.errno) if failure.errno else str(failure))
        raise HostFailed(f"can't {what}: {reason}") from failure


def _open_nftables() -> Nftables:
    try:
        return Nftables()
    except OSError as failure:
        raise HostFailed(f"nftables isn't usable: {failure}", hint="apt-get install nftables") from failure


def _read_hosts() -> str:
    try:
        with open("/etc/hosts", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return "127.0.0.1\tlocalhost\n"
