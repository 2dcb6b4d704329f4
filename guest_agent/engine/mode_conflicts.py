"""What a container's network mode forbids, in dockerd's words and order (moby, runconfig/hostconfig.go)."""

from __future__ import annotations

from collections.abc import Iterator

from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerConfig, HostConfig
from guest_agent.wire.networks import HOST

_UNDEFINED = "This would result in undefined behavior"
HOST_AND_LINKS = f"conflicting options: host type networking can't be used with links. {_UNDEFINED}"


def check_network_mode(config: ContainerConfig, host_config: HostConfig) -> None:
    """Of the request alone, before its image is looked for. Raises InvalidArgument for the first contradiction."""
    for conflict in _conflicts(config, host_config):
        raise InvalidArgument(conflict)


def _conflicts(config: ContainerConfig, host_config: HostConfig) -> Iterator[str]:
    kind, colon, donor = host_config.network_mode.partition(":")
    if kind == "container" and not donor:
        yield "Invalid network mode: invalid container format container:<name|id>"
    if kind == "container" and colon:
        yield from _shared_conflicts(config, host_config)
    if host_config.uts_mode == "host" and config.hostname:
        yield "conflicting options: hostname and the UTS mode"
    if host_config.network_mode == HOST and host_config.links:
        yield HOST_AND_LINKS


def _shared_conflicts(config: ContainerConfig, host_config: HostConfig) -> Iterator[str]:
    """Whose network it is has settled all these."""
    if config.hostname:
        yield "conflicting options: hostname and the network mode"
    if host_config.links:
        yield f"conflicting options: container type network can't be used with links. {_UNDEFINED}"
    if host_config.dns:
        yield "conflicting options: dns and the network mode"
    if host_config.extra_hosts:
        yield "conflicting options: custom host-to-IP mapping and the network mode"
    if host_config.port_bindings or host_config.publish_all_ports:
        yield "conflicting options: port publishing and the container type network mode"
    if config.exposed_ports:
        yield "conflicting options: port exposing and the container type network mode"
