"""What a container's network mode forbids, in moby's words (runconfig/errors.go)."""

from __future__ import annotations

import pytest

from guest_agent.engine.mode_conflicts import check_network_mode
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerConfig, ContainerPort, HostConfig, PortBinding

WEB = ContainerPort(80)
SHARED = HostConfig(network_mode="container:web")


def shared(**wishes: object) -> HostConfig:
    return HostConfig(network_mode="container:web", **wishes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "host_config", "complaint"),
    [
        (ContainerConfig(hostname="me"), SHARED, "conflicting options: hostname and the network mode"),
        (ContainerConfig(exposed_ports=(WEB,)), SHARED, "port exposing and the container type network mode"),
        (ContainerConfig(), shared(links=("db:db",)), "container type network can't be used with links"),
        (ContainerConfig(), shared(dns=("1.1.1.1",)), "dns and the network mode"),
        (ContainerConfig(), shared(extra_hosts=("a:1.1.1.1",)), "custom host-to-IP mapping and the network mode"),
        (ContainerConfig(), shared(publish_all_ports=True), "port publishing and the container type network mode"),
        (ContainerConfig(), shared(port_bindings=(PortBinding(WEB),)), "port publishing and the container type"),
        (ContainerConfig(), HostConfig(network_mode="container:"), "invalid container format container:<name|id>"),
        (ContainerConfig(), HostConfig(network_mode="container"), "invalid container format container:<name|id>"),
        (ContainerConfig(), HostConfig(network_mode="host", links=("db:db",)), "host type networking can't be used"),
        (ContainerConfig(hostname="me"), HostConfig(uts_mode="host"), "hostname and the UTS mode"),
    ],
)
def test_contradictions(config: ContainerConfig, host_config: HostConfig, complaint: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_network_mode(config, host_config)
    assert complaint in caught.value.message


def test_what_goes_together() -> None:
    check_network_mode(ContainerConfig(), SHARED)
    check_network_mode(
        ContainerConfig(hostname="me", exposed_ports=(WEB,)), HostConfig(network_mode="host", dns=("1.1.1.1",))
    )
