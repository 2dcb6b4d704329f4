"""All of a container's networking behind one door.

The order in a start: `reserve` (a taken port is an error before anything is made) -> `connect` (the default network
alone) or `attach` -> `activate`; in an end: `release` and `disconnect`, in any order, both idempotent. The namespace
goes away when its last process, and the last descriptor of it, is gone.

Everything takes a millisecond or two, and must be called on the event loop's thread while it runs. What concerns ports
is asynchronous, since inside a machine they are held on its host; natively it waits for nothing. Failures of the kernel
come out as HostFailed.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from guest_agent.linux.netlink import RouteSocket
from guest_agent.linux.nftables import Nftables
from guest_agent.networks import sandbox
from guest_agent.networks.bridge_driver import host_binding
from guest_agent.networks.container_names import ContainerNames
from guest_agent.networks.default_network import DefaultNetwork, NetworkAttachment
from guest_agent.networks.directory import Directory
from guest_agent.networks.endpoints import open_loopback_namespace
from guest_agent.networks.exposure import HostExposure, LeasedExposure, NothingToExpose
from guest_agent.networks.failures import translated
from guest_agent.networks.firewall import Firewall
from guest_agent.networks.gateway import PortGateway
from guest_agent.networks.leases import LeaseGateway
from guest_agent.networks.local_ports import LocalGateway
from guest_agent.networks.membership import Membership, publishing_endpoint
from guest_agent.networks.name_service import NameService
from guest_agent.networks.publisher import Publisher, Reservation
from guest_agent.networks.rules import BridgeRules
from guest_agent.networks.settings import DescriptorHolder, NetworkSettings
from guest_agent.networks.store import NetworkStore
from guest_agent.networks.streams import CHUNK
from guest_agent.networks.user_networks import UserNetworks
from guest_agent.store.records import Records
from guest_agent.wire.errors import HostFailed
from guest_agent.wire.models import Endpoint, PortBinding, PublishedPort
from guest_agent.wire.networks import HOST, NONE, Network

Live = Mapping[str, tuple[tuple[Endpoint, ...], tuple[PublishedPort, ...]]]


@dataclass(frozen=True, slots=True)
class Attachments:
    """A container's endpoints in its own networks and its namespace, whose descriptor the caller owns."""

    endpoints: tuple[Endpoint, ...]
    namespace: int


class Networks:
    """The networks of one engine."""

    def __init__(self, settings: NetworkSettings, holder: DescriptorHolder, records: Records) -> None:
        self._settings = settings
        self._route = RouteSocket()
        self._nftables = _open_nftables()
        self._ports, self._exposure = _open_ports(settings, holder, bytearray(CHUNK))
        self._publisher = Publisher(self._nftables, settings.table, holder, self._ports)
        self._directory = Directory()
        self._names = NameService(settings, holder, self._directory)
        self._default = DefaultNetwork(self._route, settings, self._names)
        store = NetworkStore(records)
        store.load()
        self._users = UserNetworks(self._route, store, self._default, settings.table)
        self.names = ContainerNames(settings, self._names, lambda: self._default.gateway_text)
        self._firewall = Firewall(self._nftables, settings.table, self._bridges, self._publisher.rebuild)
        self._lost_ports: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """For `info`: what doesn't work as it should, and what to do."""
        return self._lost_ports + self._ports.warnings + self._firewall.trouble + self._users.trouble

    # -- the engine's life

    def start(self) -> None:
        """Idempotent: makes what is missing, adopts what a predecessor left. Maps keep leading where they led."""
        with translated("set up the default network"):
            self._default.ensure()
            self._users.start()
            self._firewall.start()

    def reconcile(self, live: Live) -> None:
        """After `start`: everything of these containers is as before, everything of others is forgotten.

        To be called once, with every container that has a process, whether or not it has ports.
        """
        failures = []
        with translated("restore the networks"):
            for container_id, (endpoints, ports) in live.items():
                for endpoint in endpoints:
                    self._users.claim(endpoint)
                    self._enter(container_id, endpoint)
                leading = publishing_endpoint(endpoints)
                if leading is not None:
                    failures += self._publisher.adopt(container_id, leading.address, ports, leading.address6)
            self._publisher.forget_others(live)
            self._exposure.adopt(_on_host_network(live))
            self._names.adopt(live)
            self._publisher.rebuild()
        self._lost_ports = tuple(failure.message for failure in failures)

    def close(self) -> None:
        """The engine ends: running containers keep their network and their IPv4 ports. May be called twice."""
        self._firewall.close()
        self._publisher.close()
        self._exposure.close()
        self._names.close()
        self._nftables.close()
        self._route.close()

    async def remove_all(self) -> None:
        """Takes everything out of the kernel, and closes. For when no container is left; idempotent."""
        with translated("remove the networks"):
            await self._publisher.release_all()
            self._names.adopt(())
            self._firewall.remove()
            for bridge in (self._settings.bridge, *(one.name for one in self._users.bridges())):
                self._firewall.forget(bridge)
            self._users.remove_all()
            self._default.remove()
        self.close()

    # -- networks

    def all(self) -> tuple[Network, ...]:
        """The three that there always are, and those of users, oldest first."""
        identify = self._settings.network_id
        there_always = (
            self._default.record,
            Network(identify(HOST), HOST, "host", 0),
            Network(identify(NONE), NONE, "null", 0),
        )
        return (*there_always, *self._users.records())

    def driver_of(self, network_id: str) -> str:
        """ "" where the network is gone."""
        if network_id == self._default.id:
            return "bridge"
        return next((one.driver for one in self.all() if one.id == network_id), "")

    def create(self, asked: Network) -> Network:
        """The network as it was made. Nothing is left when it fails, by the user's fault or the kernel's."""
        with translated(f"create network {asked.name}"):
            network = self._users.create(asked)
            try:
                self._firewall.apply()
            except BaseException:
                self._users.remove(network)
                raise
            self._firewall.let_through()
        return network

    def is_used(self, network_id: str) -> bool:
        """Somebody has an interface there: a container, be it only about to start, or a step of a build."""
        return self._directory.has_members(network_id)

    def remove(self, network: Network) -> None:
        """Takes one away that nobody uses."""
        with translated(f"remove network {network.name}"):
            self._users.remove(network)
            self._firewall.apply()
            if bridge := self._users.bridge_of(network):
                self._firewall.forget(bridge)

    def _bridges(self) -> list[BridgeRules]:
        return [self._default.rules, *self._users.bridges()]

    # -- a container's life

    def plan_published(self, bindings: Iterable[PortBinding], network_ids: Iterable[str]) -> tuple[PortBinding, ...]:
        """What a container on these networks publishes: () where none of them has the host and a way out."""
        network = self._users.find_publishing(network_ids)
        if network is None:
            return ()
        address = host_binding(network)
        return tuple(one if one.host_ip else dataclasses.replace(one, host_ip=address) for one in bindings)

    def connect(self, container_id: str, last: str = "") -> NetworkAttachment:
        """A namespace with lo, and eth0 on the default network alone. Nothing is left when it fails.

        `last` is the address that the container had before, "" for none.
        """
        with translated(f"connect container {container_id[:12]} to the default network"):
            return self._default.connect(last)

    async def clear_away(self, endpoints: Sequence[Endpoint]) -> None:
        """Ends the interfaces of a container's last run, where they still are. Idempotent.

        A dead container's namespace lives on while its orphaned sockets still send to whoever doesn't answer
        (tcp(7), tcp_orphan_retries: up to minutes), and would answer in the place of the next one with its address.
        """
        names = [one.host_interface for one in endpoints if one.host_interface]
        if names:
            with translated("take away the interfaces of the last run"):
                await sandbox.take_links_away(names)

    def attach(self, container_id: str, members: Sequence[Membership]) -> Attachments:
        """A namespace with lo, and eth0 and so on, one for each network. Nothing is left when it fails."""
        namespace = self.loopback_only()
        endpoints: list[Endpoint] = []
        try:
            for member in members:
                planned = self.admit(member, [one.interface for one in endpoints])
                endpoints.append(planned)
                endpoints[-1] = self._plug(container_id, planned, namespace, member.settings.link_local)
            with translated("set the container's routes"):
                sandbox.route_out(namespace, endpoints)
        except BaseException:
            for endpoint in endpoints:
                self.disconnect(container_id, endpoint)
            os.close(namespace)
            raise
        return Attachments(tuple(endpoints), namespace)

    def admit(self, member: Membership, taken: Iterable[str]) -> Endpoint:
        """The endpoint that the container gets, which is to be recorded before it is `joined`; nothing is made yet.

        `taken` are the names of its other interfaces. Raises Forbidden where the wanted address isn't free.
        """
        with translated("choose the container's addresses"):
            return self._users.admit(member, taken)

    def join(
        self, container_id: str, pid: int, endpoint: Endpoint, others: Iterable[Endpoint], link_local: Iterable[str]
    ) -> Endpoint:
        """Makes an admitted endpoint's interface in a running container; the endpoint with the host's end named."""
        with translated(f"connect container {container_id[:12]}"), sandbox.namespace_of(pid) as namespace:
            joined = self._plug(container_id, endpoint, namespace, link_local)
            sandbox.route_out(namespace, [*others, joined])
        return joined

    async def leave(self, container_id: str, pid: int, endpoint: Endpoint, others: Sequence[Endpoint]) -> None:
        """Takes one interface out of a running container that keeps the other ones. Idempotent.

        Its address is free whatever fails: with a process that has just ended, the interface goes by itself.
        """
        self._directory.leave(container_id, endpoint.network_id)
        try:
            with translated(f"disconnect container {container_id[:12]}"), sandbox.namespace_of(pid) as namespace:
                await sandbox.take_interface_away(namespace, endpoint.interface)
                sandbox.route_out(namespace, others)
        finally:
            self._users.dismiss(endpoint)

    def dismiss(self, container_id: str, endpoint: Endpoint) -> None:
        """Forgets an admitted endpoint whose interface couldn't be made. Idempotent."""
        self._directory.leave(container_id, endpoint.network_id)
        self._users.dismiss(endpoint)

    async def repair(self, container_id: str, pid: int, endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
        """At start-up: a running container's interfaces are those that are recorded, as the killed engine had meant."""
        with translated(f"restore container {container_id[:12]}"), sandbox.namespace_of(pid) as namespace:
            there, wanted = sandbox.interfaces(namespace), {one.interface for one in endpoints}
            for unwanted in there - wanted:
                await sandbox.take_interface_away(namespace, unwanted)
            whole = tuple(
                one if one.interface in there else self._plug(container_id, one, namespace, ()) for one in endpoints
            )
            if there != wanted:
                sandbox.route_out(namespace, whole)
            return whole

    def _plug(self, container_id: str, endpoint: Endpoint, namespace: int, link_local: Iterable[str]) -> Endpoint:
        with translated(f"connect container {container_id[:12]} to network {endpoint.network}"):
            plugged = self._users.plug(endpoint, namespace)
            sandbox.configure(namespace, plugged, link_local)
        self._enter(container_id, plugged)
        return plugged

    def rename(self, container_id: str, endpoint: Endpoint) -> None:
        """The members of the network know it by the endpoint's names from here on."""
        self._enter(container_id, endpoint)

    def _enter(self, container_id: str, endpoint: Endpoint) -> None:
        self._directory.enter(container_id, endpoint)

    def loopback_only(self) -> int:
        """The network `none`: a descriptor of a namespace with lo; the caller owns it."""
        with translated("make a network namespace"):
            return open_loopback_namespace()

    def join_host(self, container_id: str) -> Endpoint:
        """The network `host`: what the container listens on is reached where the user is, until `disconnect`."""
        self._exposure.enter(container_id)
        return self.static_endpoint(HOST)

    def disconnect(self, container_id: str, endpoint: Endpoint) -> None:
        """Forgets the endpoint's address and stops answering names for it. Idempotent."""
        self._names.stop(container_id)
        self._exposure.leave(container_id)
        self._directory.leave(container_id, endpoint.network_id)
        self._users.dismiss(endpoint)

    async def reserve(self, container_id: str, bindings: Iterable[PortBinding], name: str = "") -> Reservation:
        """Binds all the ports or none. Raises AddressInUse in docker's words; `name` is the container's in them."""
        with translated("publish ports"):
            return await self._publisher.reserve(container_id, name or container_id[:12], bindings)

    async def activate(self, reservation: Reservation, address: str, address6: str = "") -> None:
        """Leads the reserved ports to these addresses of one place. Idempotent; on failure they stay reserved."""
        with translated("publish ports"):
            await self._publisher.activate(reservation.container_id, address, address6)

    async def publish(
        self, container_id: str, address: str, bindings: Iterable[PortBinding], address6: str = ""
    ) -> tuple[PublishedPort, ...]:
        """`reserve` and `activate` in one; nothing is held when it fails."""
        reservation = await self.reserve(container_id, bindings)
        try:
            await self.activate(reservation, address, address6)
        except BaseException:
            await self.release(container_id)
            raise
        return reservation.ports

    async def release(self, container_id: str) -> None:
        """Frees the container's ports. Idempotent."""
        with translated("release ports"):
            await self._publisher.release(container_id)

    # -- views

    def static_endpoint(self, mode: str) -> Endpoint:
        """The endpoint of a container on `host` or `none`: no addresses."""
        return Endpoint(mode, self._settings.network_id(mode), secrets.token_hex(32))


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


def _open_nftables() -> Nftables:
    try:
        return Nftables()
    except OSError as failure:
        raise HostFailed(f"nftables isn't usable: {failure}", hint="apt-get install nftables") from failure
