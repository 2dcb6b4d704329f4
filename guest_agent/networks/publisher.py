"""Published ports over their life: reserved (held), active (they lead to a container), released.

The held descriptors are kept a second time by the descriptor holder, so that a successor of a killed engine has them
back and nobody can take the port in between. While there is no engine, IPv4 goes on by the firewall's maps, and what
needs an engine (IPv6) waits in the sockets' backlog.

Where a port is held is the gateway's business. The maps are filled wherever that is: inside a machine they let
containers reach the ports at their gateway's address.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass

from guest_agent.linux.netlink_conntrack import Flow, forget_flows
from guest_agent.linux.nftables import Nftables, NftablesError
from guest_agent.networks.gateway import HeldPort, PortGateway
from guest_agent.networks.ports import allocated, find_clash, format_note, parse_note, plan_bindings, plan_order
from guest_agent.networks.rules import Translation, plan_add, plan_rebuild, plan_remove
from guest_agent.networks.settings import DescriptorHolder
from guest_agent.wire.errors import HostvmError
from guest_agent.wire.models import PortBinding, Protocol, PublishedPort

KEY_PREFIX = "ports:"
#: SCM_MAX_FD is 253: more descriptors don't fit into one message to the holder.
MOST_IN_ONE_MESSAGE = 128
#: Seconds by which ports whose descriptors changed are handed over together: a thousand leases come back at once.
_HAND_OVER_DELAY = 0.02
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

    @property
    def ports(self) -> tuple[PublishedPort, ...]:
        return tuple(port for one in self.held for port in one.record.published)

    @property
    def translations(self) -> list[Translation]:
        return [Translation(port, self.address) for port in self.ports] if self.address else []

    @property
    def udp_ports(self) -> frozenset[int]:
        return frozenset(port.host_port for port in self.ports if port.container_port.protocol is Protocol.UDP)

    def close(self) -> None:
        for one in self.held:
            one.close()


class Publisher:
    """Every publication of one engine. Must be used on the loop's thread."""

    def __init__(self, nftables: Nftables, table: str, holder: DescriptorHolder, gateway: PortGateway) -> None:
        self._nftables = nftables
        self._table = table
        self._holder = holder
        self._gateway = gateway
        self._publications: dict[str, _Publication] = {}
        self._late: dict[str, asyncio.TimerHandle] = {}
        gateway.changed = self._changed

    async def reserve(self, container_id: str, name: str, bindings: Iterable[PortBinding]) -> Reservation:
        """Holds all or none. What the container held before is let go first."""
        await self.release(container_id)
        endpoint = f"{name} ({secrets.token_hex(32)})"
        wanted = plan_order(bindings)
        self._refuse_allocated(wanted, endpoint)
        held = await self._gateway.hold(wanted, container_id, endpoint)
        self._publications[container_id] = publication = _Publication(held)
        try:
            self._hand_over(container_id)
        except BaseException:
            await self.release(container_id)
            raise
        return Reservation(container_id, publication.ports)

    async def activate(self, container_id: str, address: str, address6: str = "") -> None:
        """Leads the held ports to that address, and who comes by IPv6 to `address6`, where the container has one.

        Raises NftablesError; then they are held as before.
        """
        publication = self._publications.get(container_id)
        if publication is None or publication.address or not publication.held:
            return
        publication.address = address
        try:
            self._change(plan_add(self._table, publication.translations))
        except NftablesError:
            publication.address = ""
            raise
        await at_once(one.serve(address, address6) for one in publication.held)
        self._forget_old_flows(publication)

    async def release(self, container_id: str) -> None:
        """Idempotent. The ports are free afterwards, and connections through relays are cut."""
        publication = self._publications.pop(container_id, None)
        if publication is None:
            return
        try:
            self._change(plan_remove(self._table, publication.translations))
            self._forget_old_flows(publication)
        finally:
            try:
                await at_once(one.release() for one in publication.held)
            finally:
                self._hold_only(container_id, {})

    def adopt(
        self, container_id: str, address: str, ports: Iterable[PublishedPort], address6: str = ""
    ) -> list[HostvmError]:
        """Takes a running container's ports back from the holder; holds again what was lost. Answers what failed.

        The maps are not touched: `rebuild` follows once all are adopted.
        """
        held = [one for key in self._held_keys(container_id) for one in self._fetch(key, container_id)]
        have = {port for one in held for port in one.record.published}
        missing = plan_bindings(port for port in ports if port not in have)
        restored, failures = self._gateway.restore(missing, container_id)
        publication = _Publication(held + restored, address)
        self._publications[container_id] = publication
        if restored:
            self._hand_over(container_id)
        for one in publication.held:
            one.resume(address, address6)
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
        for timer in self._late.values():
            timer.cancel()
        for publication in self._publications.values():
            publication.close()
        self._publications.clear()

    async def release_all(self) -> None:
        for container_id in list(self._publications):
            await self.release(container_id)
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

    def _changed(self, container_id: str) -> None:
        if container_id not in self._late:
            loop = asyncio.get_running_loop()
            self._late[container_id] = loop.call_later(_HAND_OVER_DELAY, self._hand_over, container_id)

    def _hand_over(self, container_id: str) -> None:
        """Everything that the container holds by now, in place of what the holder had."""
        timer = self._late.pop(container_id, None)
        if timer is not None:
            timer.cancel()
        publication = self._publications.get(container_id)
        held = [one for one in publication.held if one.fileno() >= 0] if publication else []
        starts = range(0, len(held), MOST_IN_ONE_MESSAGE)
        self._hold_only(container_id, {_key(container_id, at): held[at : at + MOST_IN_ONE_MESSAGE] for at in starts})

    def _hold_only(self, container_id: str, parts: Mapping[str, Sequence[HeldPort]]) -> None:
        for key, part in parts.items():
            note = format_note([one.record for one in part])
            self._holder.hold(key, [one.fileno() for one in part], note)
        for key in self._held_keys(container_id):
            if key not in parts:
                self._holder.drop(key)

    def _held_keys(self, container_id: str) -> list[str]:
        prefix = f"{KEY_PREFIX}{container_id}:"
        return sorted(key for key in tuple(self._holder.keys()) if key.startswith(prefix))

    def _fetch(self, key: str, container_id: str) -> list[HeldPort]:
        fds, note = self._holder.get(key)
        records = parse_note(note) if note else []
        pairs = zip(fds, records, strict=True)
        return [self._gateway.take_back(fd, record, container_id) for fd, record in pairs]

    def _refuse_allocated(self, wanted: Sequence[PortBinding], endpoint: str) -> None:
        """Raises AddressInUse where one of our own containers has a port."""
        for container_id, publication in self._publications.items():
            ports = publication.ports
            for binding in wanted:
                if address := find_clash(binding, ports):
                    raise allocated(binding, address, endpoint, container_id)


def _key(container_id: str, start: int) -> str:
    return f"{KEY_PREFIX}{container_id}:{start:05}"


async def at_once(steps: Iterable[Coroutine[object, object, None]]) -> None:
    """All of them; a failure is raised when all have ended. One alone needs no task, nor a turn of the loop."""
    works = list(steps)
    if len(works) == 1:
        await works[0]
        return
    for failure in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(failure, BaseException):
            raise failure
