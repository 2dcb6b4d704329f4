"""Containers on the host's network, inside a machine: what they listen on is exposed on the machine's host as well.

Natively there is nothing to do: their host is the host. Inside a machine the kernel's tables are looked at while such a
container runs (the kernel tells nobody when a socket begins to listen), and a port is leased for each listener.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol as Interface

from guest_agent.networks.leases import LeasedPort, LeaseGateway
from guest_agent.networks.listeners import (
    Exposure,
    Listener,
    format_exposures,
    parse_exposures,
    parse_sockets,
    plan_exposures,
)
from guest_agent.networks.ports import PortRecord
from guest_agent.networks.settings import DescriptorHolder
from guest_agent.wire.models import ContainerPort, PortBinding, Protocol

#: Seconds between two looks: soon while a container may still be starting up, later as seldom as an idle engine may.
EAGER_SECONDS, IDLE_SECONDS = 0.1, 1.0
#: Looks that are eager after a container has come.
_EAGER_LOOKS = 50
_KEY = "exposed:host"
#: What the leases are asked for as; no container can have that id.
_OWNER = "host-network"
#: As many descriptors as fit into one message to the holder. The others have a gap when the engine is killed.
_MOST_HELD = 128
_HAND_OVER_DELAY = 0.02
_TABLES = (
    ("/proc/net/tcp", Protocol.TCP),
    ("/proc/net/tcp6", Protocol.TCP),
    ("/proc/net/udp", Protocol.UDP),
    ("/proc/net/udp6", Protocol.UDP),
)


class HostExposure(Interface):
    """Makes listeners on the host's network reachable where the user is. Idempotent; used on the loop's thread."""

    def enter(self, container_id: str) -> None:
        """This container runs on the host's network from here on."""

    def leave(self, container_id: str) -> None:
        """It has ended."""

    def adopt(self, live: Iterable[str]) -> None:
        """At start-up: these containers run on the host's network."""

    def close(self) -> None:
        """The engine ends; what is exposed stays."""


class NothingToExpose:
    """The HostExposure of an engine on the host itself."""

    def enter(self, container_id: str) -> None:
        pass

    def leave(self, container_id: str) -> None:
        pass

    def adopt(self, live: Iterable[str]) -> None:
        pass

    def close(self) -> None:
        pass


def read_listeners() -> frozenset[Listener]:
    """What listens in the engine's own network namespace, which is that of `--network host`."""
    found: frozenset[Listener] = frozenset()
    for path, protocol in _TABLES:
        try:
            with open(path, encoding="ascii") as file:
                found |= parse_sockets(file.read(), protocol)
        except FileNotFoundError:
            continue  # a kernel without IPv6
    return found


class LeasedExposure:
    """The HostExposure of an engine inside a machine."""

    def __init__(
        self,
        gateway: LeaseGateway,
        holder: DescriptorHolder,
        read: Callable[[], frozenset[Listener]] = read_listeners,
    ) -> None:
        self._gateway = gateway
        self._holder = holder
        self._read = read
        self._users: set[str] = set()
        self._leases: dict[Exposure, LeasedPort] = {}
        self._releasing: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._handing: asyncio.TimerHandle | None = None
        self._eager = 0

    def enter(self, container_id: str) -> None:
        self._users.add(container_id)
        self._eager = _EAGER_LOOKS
        if self._looking is not None:
            self._looking.cancel()
        self._looking = asyncio.get_running_loop().create_task(self._look())

    def leave(self, container_id: str) -> None:
        """A container that ended has no listeners any more: the next look finds that, unless nobody is left."""
        self._users.discard(container_id)
        if not self._users and self._looking is not None:
            self._looking.cancel()
            self._looking = None
            self._change_to(frozenset())

    def adopt(self, live: Iterable[str]) -> None:
        fds, note = self._holder.get(_KEY)
        for fd, one in zip(fds, parse_exposures(note), strict=True):
            self._lead(one, self._gateway.take_back(fd, _record(one), _OWNER))
        for container_id in live:
            self.enter(container_id)
        if not self._users:
            self._change_to(frozenset())
            self._hand_over()

    def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        if self._handing is not None:
            self._handing.cancel()
        for one in self._leases.values():
            one.close()

    async def _look(self) -> None:
        while True:
            self._change_to(plan_exposures(self._read()))
            self._eager = max(0, self._eager - 1)
            await asyncio.sleep(EAGER_SECONDS if self._eager else IDLE_SECONDS)

    def _change_to(self, wanted: frozenset[Exposure]) -> None:
        for gone in [one for one in self._leases if one not in wanted]:
            self._release(self._leases.pop(gone))
        for new in wanted - self._leases.keys():
            self._expose(new)

    def _expose(self, one: Exposure) -> None:
        binding = PortBinding(ContainerPort(one.port, one.protocol), one.host_ip, one.port)
        self._lead(one, self._gateway.expect(binding, _OWNER))

    def _lead(self, one: Exposure, lease: LeasedPort) -> None:
        self._leases[one] = lease
        lease.changed = self._changed
        lease.resume(one.address)

    def _release(self, lease: LeasedPort) -> None:
        task = asyncio.get_running_loop().create_task(lease.release())
        self._releasing.add(task)
        task.add_done_callback(self._released)

    def _released(self, task: asyncio.Task[None]) -> None:
        self._releasing.discard(task)
        self._changed()

    def _changed(self) -> None:
        if self._handing is None:
            self._handing = asyncio.get_running_loop().call_later(_HAND_OVER_DELAY, self._hand_over)

    def _hand_over(self) -> None:
        """What is leased by now, in place of what the holder had."""
        self._handing = None
        held = [(one, lease) for one, lease in self._leases.items() if lease.fileno() >= 0][:_MOST_HELD]
        if held:
            fds = [lease.fileno() for _, lease in held]
            self._holder.hold(_KEY, fds, format_exposures([one for one, _ in held]))
        else:
            self._holder.drop(_KEY)


def _record(one: Exposure) -> PortRecord:
    return PortRecord(ContainerPort(one.port, one.protocol), one.host_ip, one.port, any_ipv6=not one.host_ip)
