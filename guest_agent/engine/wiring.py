"""Which networks a container is on: from what was asked for to what its start connects."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from guest_agent.engine.container import Container
from guest_agent.engine.creation import plan_port_bindings
from guest_agent.engine.parts import Parts
from guest_agent.networks.membership import Membership, check_settings
from guest_agent.wire.errors import InvalidArgument, NotFound
from guest_agent.wire.models import HostConfig, PortBinding
from guest_agent.wire.networks import BRIDGE, DEFAULT, HOST, NONE, EndpointSettings, Network

_SHARED = "container:"


def is_user_defined(mode: str) -> bool:
    """Whether `--network` names a network that somebody made."""
    return mode not in ("", DEFAULT, BRIDGE, HOST, NONE) and not mode.startswith(_SHARED)


def find_network(parts: Parts, reference: str) -> Network:
    """By full id, name, or unique beginning of an id. Raises NotFound and InvalidArgument in dockerd's words."""
    networks = parts.networks.all()
    exact = [one for one in networks if reference == one.id] or [one for one in networks if reference == one.name]
    found = exact or [one for one in networks if reference and one.id.startswith(reference)]
    if len(found) > 1:
        how = "name" if exact else "ID prefix"
        raise InvalidArgument(f"network {reference} is ambiguous ({len(found)} matches found on {how})")
    if not found:
        raise NotFound(f"network {reference} not found")
    return found[0]


# -- making


def resolve_settings(
    parts: Parts, host_config: HostConfig, asked: Iterable[EndpointSettings]
) -> tuple[EndpointSettings, ...]:
    """What the record says of the container's networks: () for one that is on the default network, and no other.

    The mode's network comes first. One that isn't there is an error of the start, as with dockerd.
    """
    mode, asked = host_config.network_mode, tuple(asked)
    if mode in (HOST, NONE):
        for one in asked:
            _resolve(parts, one.network, one)
    if mode.startswith(_SHARED) or mode in (HOST, NONE) or (not asked and not is_user_defined(mode)):
        return ()
    settings = [_resolve(parts, BRIDGE if one.network == DEFAULT else one.network, one) for one in asked]
    main = network_of_mode(parts, mode)
    if not settings or (is_user_defined(mode) and all(one.network != main for one in settings)):
        settings.insert(0, _resolve(parts, main, EndpointSettings(main)))
    settings.sort(key=lambda one: one.network != main)
    if [one for one in settings if one != EndpointSettings(BRIDGE, one.network_id)]:
        return tuple(settings)
    return ()


def network_of_mode(parts: Parts, mode: str) -> str:
    """Its name, where there is such a network."""
    if mode in ("", DEFAULT):
        return BRIDGE
    try:
        return find_network(parts, mode).name
    except NotFound:
        return mode


def _resolve(parts: Parts, reference: str, settings: EndpointSettings) -> EndpointSettings:
    try:
        network = find_network(parts, reference)
    except NotFound:
        return settings
    resolved = dataclasses.replace(settings, network=network.name, network_id=network.id)
    try:
        check_settings(network, resolved)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid config for network {resolved.network}: {error.message}") from None
    return resolved


# -- later


def implied_settings(parts: Parts, container: Container) -> tuple[EndpointSettings, ...]:
    """What the container is to be connected to, the default network spelled out."""
    if container.networks or container.unconnected:
        return container.networks
    mode = container.host_config.network_mode
    if mode.startswith(_SHARED) or mode in (HOST, NONE):
        return ()
    network = find_network(parts, BRIDGE)
    return (EndpointSettings(network.name, network.id),)


# -- starting


def plan_members(parts: Parts, container: Container) -> tuple[Membership, ...]:
    """The networks that its start has to connect; () where the default network alone is meant. Raises NotFound."""
    return tuple(plan_member(parts, container, settings) for settings in container.networks)


def plan_member(parts: Parts, container: Container, settings: EndpointSettings) -> Membership:
    """With the network's id, and the names that its members find the container by."""
    network = find_network(parts, settings.network_id or settings.network)
    known = dataclasses.replace(settings, network=network.name, network_id=network.id)
    return Membership(known, () if network.name == BRIDGE else plan_names(container, settings))


def plan_names(container: Container, settings: EndpointSettings) -> tuple[str, ...]:
    """The first of them is the one that an address is looked up as; docker's order."""
    names = (container.name, *settings.aliases, container.short_id, container.config.hostname)
    return tuple(dict.fromkeys(filter(None, names)))


def plan_published(parts: Parts, container: Container) -> tuple[PortBinding, ...]:
    """What its start has to publish; nothing where no network of its leads out."""
    bindings = plan_port_bindings(container.config, container.host_config)
    mode = container.host_config.network_mode or DEFAULT
    if not bindings or mode in (HOST, NONE) or mode.startswith(_SHARED):
        return ()
    if not container.networks:
        return () if container.unconnected else tuple(bindings)
    networks = [member.settings.network_id for member in plan_members(parts, container)]
    return parts.networks.plan_published(bindings, networks)
