"""The network verbs: a view of every network with who is in it, and what can be done to one."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

from guest_agent.engine import connections
from guest_agent.engine.naming import new_id
from guest_agent.engine.parts import Parts
from guest_agent.engine.wiring import find_network
from guest_agent.wire.errors import Conflict, Forbidden, InvalidArgument, NotFound
from guest_agent.wire.models import Endpoint
from guest_agent.wire.networks import PREDEFINED, EndpointSettings, Network


@dataclass(frozen=True, slots=True)
class NetworkView:
    """A network as `network inspect` shows it; `containers` are (id, name, endpoint) of those that run."""

    network: Network
    containers: tuple[tuple[str, str, Endpoint], ...] = ()
    users: int = 0  #: containers that are on it, running or not


class NetworkVerbs:
    """What can be asked of networks."""

    def __init__(self, parts: Parts, started_ns: int) -> None:
        self._parts = parts
        self._started_ns = started_ns

    def list(self) -> tuple[NetworkView, ...]:
        """bridge, host, none, and those of users, oldest first."""
        return tuple(self._view(network) for network in self._parts.networks.all())

    def find(self, ref: str) -> NetworkView:
        """By id, name, or unique prefix of an id. Raises NotFound."""
        return self._view(find_network(self._parts, ref))

    def create(self, asked: Network) -> Network:
        """`asked` has no id yet. Raises Forbidden for a name of ours, Conflict for a taken one."""
        if asked.name in PREDEFINED:
            raise Forbidden(f"operation is not permitted on predefined {asked.name} network ")
        if not asked.name.strip():
            raise InvalidArgument(f"invalid name: {asked.name}" if asked.name else "network name cannot be empty")
        if any(asked.name == other.name for other in self._parts.networks.all()):
            raise Conflict(f"network with name {asked.name} already exists")
        complete = dataclasses.replace(self._with_configuration(asked), id=new_id(), created_ns=time.time_ns())
        if complete.config_only:
            complete = dataclasses.replace(complete, driver="null")
        network = self._parts.networks.create(complete)
        self._tell(network, "create")
        return network

    def remove(self, ref: str) -> None:
        """Raises Forbidden where a container or a build is on it, and for the networks that there always are."""
        self._remove(find_network(self._parts, ref))

    def prune(self, wanted: frozenset[str]) -> tuple[str, ...]:
        """Removes those among `wanted` (ids) that nobody is on; their names."""
        removed = []
        for view in self.list():
            network = view.network
            if network.id not in wanted or self._in_use(view) or network.config_only or network.name in PREDEFINED:
                continue
            self._remove(network)
            removed.append(network.name)
        self._parts.events.publish("network", "prune", "", {"reclaimed": "0"})
        return tuple(removed)

    async def connect(self, ref: str, container: str, settings: EndpointSettings) -> None:
        """Running or not. Raises Forbidden where it is connected, or shares another's network."""
        await connections.connect(self._parts, find_network(self._parts, ref), container, settings)

    async def disconnect(self, ref: str, container: str, force: bool) -> None:
        """Running or not. With `force` it is no error that there is no such container."""
        try:
            network = find_network(self._parts, ref)
        except NotFound as error:
            await connections.forget(self._parts, ref, container, force=force, missing=error)
        else:
            await connections.disconnect(self._parts, network, container, force)

    def _remove(self, network: Network) -> None:
        if network.name in PREDEFINED:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        if self._in_use(self._view(network)):
            raise Forbidden(
                f"error while removing network: network {network.name} id {network.id} has active endpoints",
                "`hostvm network inspect` names the containers that are on it",
            )
        users = [other.name for other in self._parts.networks.all() if other.config_from == network.name]
        if network.config_only and users:
            raise Forbidden(f'error while removing network: configuration network "{network.name}" is in use')
        self._parts.networks.remove(network)
        self._tell(network, "destroy")

    def _in_use(self, view: NetworkView) -> bool:
        """A container that is about to start, and a step of a build, have their interface before any record says so."""
        return bool(view.containers) or self._parts.networks.is_used(view.network.id)

    def _with_configuration(self, asked: Network) -> Network:
        """What a network of nothing but configuration says (`--config-from`)."""
        if not asked.config_from:
            return asked
        source = find_network(self._parts, asked.config_from)
        if not source.config_only:
            raise Forbidden(f'configuration network "{asked.config_from}" is not a configuration network')
        return dataclasses.replace(
            source, name=asked.name, driver=asked.driver, config_only=False, config_from=source.name,
            internal=source.internal or asked.internal, attachable=source.attachable or asked.attachable,
        )  # fmt: skip

    def _view(self, network: Network) -> NetworkView:
        everyone = self._parts.table.all()
        members = tuple(
            (container.id, container.name, endpoint)
            for container in everyone
            if container.running
            for endpoint in container.endpoints
            if endpoint.network_id == network.id
        )
        users = sum(any(one.network_id == network.id for one in container.networks) for container in everyone)
        if not network.created_ns:
            network = dataclasses.replace(network, created_ns=self._started_ns)
        return NetworkView(network, members, users)

    def _tell(self, network: Network, action: str) -> None:
        self._parts.events.publish("network", action, network.id, {"name": network.name, "type": network.driver})
