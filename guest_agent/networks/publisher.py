"""Published ports over their life: reserved (sockets held), active (they lead to a container), released.

The held sockets are kept a second time by the descriptor holder, so that a successor of a killed engine has them back
and nobody can take the port in between. While there is no engine, IPv4 goes on by the firewall's maps, and what needs
an engine (IPv6) waits in the sockets' backlog.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from guest_agent.linux.netlink_conntrack import Flow, forget_flows
from guest_agent.linux.nftables import Nftables, NftablesError
from guest_agent.networks.datagrams import DatagramRelay
from guest_agent.networks.ports import ANY_IPV4, ANY_IPV6, HeldPort, format_note, hold_port, parse_note, plan_order
from guest_agent.networks.rules import Translation, plan_add, plan_rebuild, plan_remove
from guest_agent.networks.settings import DescriptorHolder
from guest_agent.networks.streams import StreamRelay
from guest_agent.wire.errors import AddressInUse, HostvmError
from guest_agent.wire.models import PortBinding, Protocol, PublishedPort

KEY_PREFIX = "ports:"
#: SCM_MAX_FD is 253: more descriptors don't fit into one message to the holder.
MOST_IN_ONE_MESSAGE = 128
_IPPROTO_UDP = 17


@dataclass(frozen=True, slots=True)
class Reservation:
    """Ports that are held for a container and lead nowhere yet."""

    container_id: str
    ports: tuple[PublishedPort, ...]


@dataclass(slots=True)
class _Publication:
    held: list[HeldPort]
    address: str = ""
    relays: list[StreamRelay | DatagramRelay] = field(default_factory=list)

    @property
    def ports(self) -> tuple[PublishedPort, ...]:
        return tuple(port for one in self.held for port in one.published)

    @property
    def translations(self) -> list[Translation]:
        return [Translation(port, self.address) for port in self.ports] if self.address else []

    @property
    def udp_ports(self) -> frozenset[int]:
        return frozenset(one.host_port for one in self.held if one.container_port.protocol is Protocol.UDP)

    def close(self) -> None:
        for relay in self.relays:
            relay.close()
        for one in self.held:
            one.close()


class Publisher:
    """Every publication of one engine. Must be used on the loop's thread."""

    def __init__(self, nftables: Nftables, table: str, holder: DescriptorHolder, buffer: bytearray) -> None:
        self._nftables = nftables
        self._table = table
        self._holder = holder
        self._buffer = buffer
        self._publications: dict[str, _Publication] = {}

    def reserve(self, container_id: str, name: str, bindings: Iterable[PortBinding]) -> Reservation:
        """Binds all or none. What the container held before is let go first."""
        self.release(container_id)
        held: list[HeldPort] = []
        try:
            for binding in plan_order(bindings):
                held.append(hold_port(binding, f"{name} ({secrets.token_hex(32)})"))
            self._hand_over(container_id, held)
        except BaseException as failure:
            self._abandon(container_id, held)
            if isinstance(failure, AddressInUse):
                failure.hint = self._owner_hint(failure) or failure.hint
            raise
        self._publications[container_id] = _Publication(held)
        return Reservation(container_id, self._publications[container_id].ports)

    def activate(self, container_id: str, address: str) -> None:
        """Leads the held ports to that address. Raises NftablesError; then they are held as before."""
        publication = self._publications.get(container_id)
        if publication is None or publication.address or not publication.held:
            return
        publication.address = address
        try:
            self._change(plan_add(self._table, publication.translations))
        except NftablesError:
            publication.address = ""
            raise
        self._serve(publication)
        self._forget_old_flows(publication)

    def release(self, container_id: str) -> None:
        """Idempotent. The ports are free afterwards, and connections through relays are cut."""
        publication = self._publications.pop(container_id, None)
        if publication is None:
            return
        try:
            self._change(plan_remove(self._table, publication.translations))
            self._forget_old_flows(publication)
        finally:
            publication.close()
            self._abandon(container_id, publication.held)

    def adopt(self, container_id: str, address: str, ports: Iterable[PublishedPort]) -> list[HostvmError]:
        """Takes a running container's sockets back from the holder; binds again what was lost. Answers what failed.

        The maps are not touched: `rebuild` follows once all are adopted.
        """
        held = [one for key in self._held_keys(container_id) for one in self._fetch(key)]
        have = {port for one in held for port in one.published}
        rebound, failures = _bind_again(plan_bindings(port for port in ports if port not in have))
        publication = _Publication(held + rebound, address)
        if rebound:
            self._hand_over(container_id, publication.held)
        self._publications[container_id] = publication
        self._serve(publication)
        return failures

    def forget_others(self, live: Iterable[str]) -> None:
        """Lets go of what is held for containers that aren't among these."""
        keep = frozenset(live)
        for key in tuple(self._holder.keys()):
            if key.startswith(KEY_PREFIX) and key.split(":")[1] not in keep:
                self._holder.drop(key)

    def rebuild(self) -> None:
        """Makes the maps hold exactly what is active."""
        self._nftables.run(plan_rebuild(self._table, self._translations()))

    def close(self) -> None:
        """Lets go of our own descriptors; what is held and what the maps say stays."""
        for publication in self._publications.values():
            publication.close()
        self._publications.clear()

    def release_all(self) -> None:
        for container_id in list(self._publications):
            self.release(container_id)
        self.forget_others(())

    def _translations(self) -> list[Translation]:
        return [one for publication in self._publications.values() for one in publication.translations]

    def _change(self, commands: str) -> None:
        """If the maps aren't what we think they are (somebody flushed them), all of them are made anew."""
        try:
            if commands:
                self._nftables.run(commands)
        except NftablesError:
            self.rebuild()

    def _serve(self, publication: _Publication) -> None:
        for one in publication.held:
            target = _always((publication.address, one.container_port.number))
            if one.container_port.protocol is Protocol.TCP:
                publication.relays.append(StreamRelay(one.socket, target, self._buffer))
            else:
                publication.relays.append(DatagramRelay(one.socket, target))

    def _forget_old_flows(self, publication: _Publication) -> None:
        ports, address = publication.udp_ports, publication.address

        def unwanted(flow: Flow) -> bool:
            stale = flow.answering in (flow.destination, address)
            return flow.protocol == _IPPROTO_UDP and flow.destination_port in ports and stale

        try:
            if ports:
                forget_flows(unwanted)
        except OSError:
            pass  # a kernel without ctnetlink: such flows end by themselves when they pause for half a minute

    def _hand_over(self, container_id: str, held: Sequence[HeldPort]) -> None:
        for start in range(0, len(held), MOST_IN_ONE_MESSAGE):
            part = held[start : start + MOST_IN_ONE_MESSAGE]
            fds = [one.socket.fileno() for one in part]
            self._holder.hold(_key(container_id, start), fds, format_note(part))

    def _abandon(self, container_id: str, held: Sequence[HeldPort]) -> None:
        for start in range(0, len(held), MOST_IN_ONE_MESSAGE):
            self._holder.drop(_key(container_id, start))
        for one in held:
            one.close()

    def _held_keys(self, container_id: str) -> list[str]:
        prefix = f"{KEY_PREFIX}{container_id}:"
        return sorted(key for key in tuple(self._holder.keys()) if key.startswith(prefix))

    def _fetch(self, key: str) -> list[HeldPort]:
        fds, note = self._holder.get(key)
        return parse_note(note, fds) if note else []

    def _owner_hint(self, failure: AddressInUse) -> str:
        """Says so when it is one of our own containers that has the port."""
        for container_id, publication in self._publications.items():
            for one in publication.held:
                if f":{one.host_port}: bind" in failure.message:
                    return f"container {container_id[:12]} publishes it; stop that one, or publish another port"
        return ""


def _key(container_id: str, start: int) -> str:
    return f"{KEY_PREFIX}{container_id}:{start:05}"


def plan_bindings(ports: Iterable[PublishedPort]) -> list[PortBinding]:
    """What had to be asked for to have these: a port of every address comes as two values."""
    wanted = set(ports)
    bindings = []
    for port in sorted(wanted):
        other = ANY_IPV4 if port.host_ip == ANY_IPV6 else ANY_IPV6
        both = PublishedPort(port.container_port, other, port.host_port) in wanted
        if port.host_ip == ANY_IPV6 and both:
            continue
        host_ip = "" if port.host_ip == ANY_IPV4 and both else port.host_ip
        bindings.append(PortBinding(port.container_port, host_ip, port.host_port))
    return bindings


def _always(target: tuple[str, int]) -> Callable[[], tuple[str, int]]:
    return lambda: target


def _bind_again(bindings: Iterable[PortBinding]) -> tuple[list[HeldPort], list[HostvmError]]:
    held: list[HeldPort] = []
    failures: list[HostvmError] = []
    for binding in bindings:
        try:
            held.append(hold_port(binding, "that is being restored"))
        except HostvmError as failure:
            failures.append(failure)
    return held, failures
