"""A container's place on the network while it starts: its namespace with its interfaces, and the names it knows.

Starts of containers and steps of builds share it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from guest_agent.engine.container import Container
from guest_agent.engine.parts import Parts
from guest_agent.engine.wiring import plan_members
from guest_agent.networks.membership import Membership
from guest_agent.networks.names import ResolverSettings
from guest_agent.networks.networks import Attachments
from guest_agent.wire.models import Endpoint
from guest_agent.wire.networks import BRIDGE, HOST, NONE


def join_networks(parts: Parts, container: Container, last: Sequence[Endpoint] = ()) -> Attachments:
    """All of its own networks, or nothing. The default network alone is the short way, which most containers take.

    `last` is where it was before: others may still know it by those addresses.
    """
    members = plan_members(parts, container)
    if members or container.unconnected:
        return parts.networks.attach(container.id, [_with_last(member, last) for member in members])
    attached = parts.networks.connect(container.id, next((one.address for one in last if one.network == BRIDGE), ""))
    return Attachments((attached.endpoint,), attached.namespace)


def _with_last(member: Membership, last: Sequence[Endpoint]) -> Membership:
    before = [one for one in last if one.network_id == member.settings.network_id]
    addresses = tuple(text for one in before for text in (one.address, one.address6) if text)
    return dataclasses.replace(member, last=addresses) if addresses else member


def set_up_names(
    parts: Parts, container: Container, endpoints: tuple[Endpoint, ...], namespace: int
) -> ResolverSettings:
    """The container's resolver settings, with a name server behind them where its networks have names."""
    host, networks = container.host_config, parts.networks
    if any(endpoint.names for endpoint in endpoints):
        resolver, asking = networks.names.own_resolver(*host.resolving)
        networks.names.serve(container.id, namespace, asking)
        return resolver
    mode = host.network_mode if host.network_mode in (HOST, NONE) else BRIDGE
    resolver = networks.names.resolver(mode, *host.resolving)
    if resolver.wants_forwarder and any(endpoint.address for endpoint in endpoints):
        networks.names.serve(container.id, namespace)
    return resolver
