"""A container joins or leaves a network after it was made: of one that runs, the kernel's side follows the record.

The record comes first. Where the engine is killed in between, start-up makes the interface that is missing
(`Networks.repair`), or finds one that nobody knows of any more and takes it away.
"""

from __future__ import annotations

import dataclasses
import logging

from guest_agent.engine.bundle import plan_hosts_file
from guest_agent.engine.container import Container
from guest_agent.engine.failpoints import failpoint
from guest_agent.engine.parts import Parts
from guest_agent.engine.wiring import implied_settings, network_of_mode, plan_member, plan_names, plan_published
from guest_agent.networks.membership import Membership, check_settings, publishing_endpoint
from guest_agent.wire.errors import Forbidden, HostFailed, HostvmError, InvalidArgument, NotFound
from guest_agent.wire.models import Endpoint, PublishedPort
from guest_agent.wire.networks import HOST, NONE, EndpointSettings, Network

log = logging.getLogger(__name__)

_HOST_ALONE = "container cannot be disconnected from host network or connected to host network"


async def connect(parts: Parts, network: Network, reference: str, settings: EndpointSettings) -> None:
    """Raises NotFound, InvalidArgument and Forbidden in dockerd's words."""
    identity = parts.table.find(reference).id
    async with parts.table.live(identity).lock:
        container = parts.table.find(identity)
        known = dataclasses.replace(settings, network=network.name, network_id=network.id)
        check_settings(network, known)
        _check_modes(container, network)
        if any(one.network_id == network.id for one in implied_settings(parts, container)):
            _refuse_second(container, network)
            return
        if not known.mac_address and network.name == network_of_mode(parts, container.host_config.network_mode):
            known = dataclasses.replace(known, mac_address=container.config.mac_address)
        member = plan_member(parts, container, known)
        networks = (*implied_settings(parts, container), known)
        wanted = dataclasses.replace(container, networks=networks, unconnected=False)
        if container.running:
            await _join(parts, container, wanted, member)
        else:
            parts.table.save(wanted)


async def disconnect(parts: Parts, network: Network, reference: str, force: bool) -> None:
    """Raises NotFound, InvalidArgument, and HostFailed where it isn't connected: dockerd answers 500."""
    try:
        identity = parts.table.find(reference).id
    except NotFound:
        if force:
            return
        raise
    async with parts.table.live(identity).lock:
        container = parts.table.find(identity)
        if network.name == HOST or container.host_config.network_mode == HOST:
            raise InvalidArgument(_HOST_ALONE)
        left = tuple(one for one in implied_settings(parts, container) if one.network_id != network.id)
        endpoint = next((one for one in container.endpoints if one.network_id == network.id), None)
        if len(left) == len(implied_settings(parts, container)) and endpoint is None:
            raise HostFailed(f"container {container.id} is not connected to network {network.name}")
        unwanted = dataclasses.replace(container, networks=left, unconnected=not left)
        if container.running and endpoint is not None:
            await _leave(parts, unwanted, endpoint)
        else:
            parts.table.save(unwanted)
            parts.tell_network(Endpoint(network.name, network.id), "disconnect", identity)


async def forget(parts: Parts, network: str, reference: str, *, force: bool, missing: NotFound) -> None:
    """Out of the record of a container goes a network that isn't there any more.

    Raises what says that it is `missing` while the container runs, unless `force`.
    """
    identity = parts.table.find(reference).id
    async with parts.table.live(identity).lock:
        container = parts.table.find(identity)
        if container.running and not force:
            raise missing
        left = tuple(one for one in container.networks if network not in (one.network, one.network_id))
        if left == container.networks:
            raise HostFailed(f"container {container.id} is not connected to the network {network}")
        parts.table.save(dataclasses.replace(container, networks=left, unconnected=not left))


def rename(parts: Parts, container: Container) -> Container:
    """The record with the names in its networks that follow from its new one; they count at once."""
    wanted = {one.network_id: one for one in container.networks}
    endpoints = tuple(
        dataclasses.replace(one, names=plan_names(container, wanted[one.network_id])) if one.names else one
        for one in container.endpoints
    )
    for endpoint in endpoints:
        parts.networks.rename(container.id, endpoint)
    return dataclasses.replace(container, endpoints=endpoints)


async def repair(parts: Parts, container: Container) -> None:
    """At start-up: a killed engine had changed the record of a running container, and not yet its interfaces."""
    if not (container.networks or container.unconnected):
        return
    try:
        whole = await parts.networks.repair(container.id, container.state.pid, container.endpoints)
    except HostvmError as error:
        log.warning("the networks of container %s can't be restored: %s", container.short_id, error)
        return
    if whole != container.endpoints:
        stored = parts.table.save(dataclasses.replace(container, endpoints=whole))
        _follow_names(parts, stored)


def _refuse_second(container: Container, network: Network) -> None:
    """dockerd takes no notice where the container doesn't run."""
    if container.running:
        raise Forbidden(f"endpoint with name {container.name} already exists in network {network.name}")


def _check_modes(container: Container, network: Network) -> None:
    mode = container.host_config.network_mode
    if network.name == HOST and mode != HOST:
        raise InvalidArgument(_HOST_ALONE)
    if mode.startswith("container:") or mode == HOST:
        raise InvalidArgument(
            "container sharing network namespace with another container or host "
            "cannot be connected to any other network"
        )
    if NONE in (mode, network.name):
        raise InvalidArgument(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )


# -- of a running container


async def _join(parts: Parts, before: Container, container: Container, member: Membership) -> None:
    """`before` is the record as it was, and is again where the kernel refuses."""
    networks, others = parts.networks, container.endpoints
    endpoint = networks.admit(member, [one.interface for one in others])
    try:
        stored = parts.table.save(dataclasses.replace(container, endpoints=(*others, endpoint)))
        failpoint("connect.record.after")
        joined = networks.join(container.id, container.state.pid, endpoint, others, member.settings.link_local)
    except BaseException:
        networks.dismiss(container.id, endpoint)
        parts.table.save(before)
        raise
    failpoint("connect.join.after")
    stored = parts.table.save(dataclasses.replace(stored, endpoints=(*others, joined)))
    _follow_names(parts, stored)
    await _follow_ports(parts, stored, others)
    parts.tell_network(joined, "connect", container.id)


async def _leave(parts: Parts, container: Container, endpoint: Endpoint) -> None:
    before = container.endpoints
    others = tuple(one for one in before if one.network_id != endpoint.network_id)
    stored = parts.table.save(dataclasses.replace(container, endpoints=others))
    failpoint("disconnect.record.after")
    await parts.networks.leave(container.id, container.state.pid, endpoint, others)
    if _runs_on(parts, stored):
        _follow_names(parts, stored)
        await _follow_ports(parts, stored, before)
    parts.tell_network(endpoint, "disconnect", container.id)


def _follow_names(parts: Parts, container: Container) -> None:
    """/etc/hosts has its addresses; a name server answers from the first network on that has names."""
    bundle, host = parts.paths.bundle(container.id), container.host_config
    _rewrite(f"{bundle}/hosts", plan_hosts_file(parts, container, container.endpoints))
    if any(endpoint.names for endpoint in container.endpoints):
        resolver, asking = parts.networks.names.own_resolver(*host.resolving)
        parts.networks.names.serve_running(container.id, container.state.pid, asking)
        _rewrite(f"{bundle}/resolv.conf", resolver.text())


def _rewrite(path: str, text: str) -> None:
    """In place: the container has this very file mounted."""
    try:
        with open(path, "r+", encoding="utf-8") as file:
            file.write(text)
            file.truncate()
    except OSError as error:
        raise HostFailed(f"can't write {path}: {error.strerror}") from error


async def _follow_ports(parts: Parts, container: Container, before: tuple[Endpoint, ...]) -> None:
    """Published ports lead to the network that leads out by now; none are left where that fails."""
    was, leading = publishing_endpoint(before), publishing_endpoint(container.endpoints)
    if (was and was.network_id) == (leading and leading.network_id):
        return
    await parts.networks.release(container.id)
    ports: tuple[PublishedPort, ...] = ()
    try:
        bindings = plan_published(parts, container) if leading is not None else ()
        if leading is not None and bindings:
            ports = await parts.networks.publish(container.id, leading.address, bindings, leading.address6)
    finally:
        await _store_ports(parts, container, ports)


async def _store_ports(parts: Parts, container: Container, ports: tuple[PublishedPort, ...]) -> None:
    if _runs_on(parts, container):
        parts.table.save(dataclasses.replace(parts.table.find(container.id), ports=ports))
    else:
        await parts.networks.release(container.id)


def _runs_on(parts: Parts, container: Container) -> bool:
    """It may have ended while something was waited for."""
    current = parts.table.get(container.id)
    return current is not None and current.running and current.state.pid == container.state.pid
