"""The network verbs: a view of the networks that there always are, with who is in them."""

from __future__ import annotations

from dataclasses import dataclass, field

from guest_agent.engine.parts import Parts
from guest_agent.networks.networks import NetworkDescription
from guest_agent.wire.errors import InvalidArgument, NotFound
from guest_agent.wire.models import Endpoint


@dataclass(frozen=True, slots=True)
class NetworkView:
    """A network as `network inspect` shows it; `containers` are (id, name, endpoint) of those that run."""

    id: str
    name: str
    driver: str
    subnet: str
    gateway: str
    created_ns: int
    scope: str = "local"
    internal: bool = False
    options: dict[str, str] = field(default_factory=dict)
    containers: tuple[tuple[str, str, Endpoint], ...] = ()


class NetworkVerbs:
    """What can be asked of networks."""

    def __init__(self, parts: Parts, started_ns: int) -> None:
        self._parts = parts
        self._started_ns = started_ns

    def list(self) -> tuple[NetworkView, ...]:
        """bridge, host, none."""
        return tuple(self._view(description) for description in self._parts.networks.descriptions())

    def find(self, ref: str) -> NetworkView:
        """By name, id, or unique prefix of an id. Raises NotFound."""
        views = self.list()
        exact = [view for view in views if ref in (view.name, view.id)]
        matches = exact or [view for view in views if ref and view.id.startswith(ref)]
        if len(matches) > 1:
            raise InvalidArgument(f"network {ref} is ambiguous ({len(matches)} matches found on ID prefix)")
        if not matches:
            raise NotFound(f"network {ref} not found")
        return matches[0]

    def _view(self, description: NetworkDescription) -> NetworkView:
        members = tuple(
            (container.id, container.name, endpoint)
            for container in self._parts.table.all()
            for endpoint in container.endpoints
            if endpoint.network == description.name and container.running
        )
        return NetworkView(
            id=description.id,
            name=description.name,
            driver=description.driver,
            subnet=description.subnet,
            gateway=description.gateway,
            created_ns=self._started_ns,
            options=_options(description),
            containers=members,
        )


def _options(description: NetworkDescription) -> dict[str, str]:
    if not description.bridge:
        return {}
    return {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": "true",
        "com.docker.network.bridge.enable_ip_masquerade": "true",
        "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
        "com.docker.network.bridge.name": description.bridge,
        "com.docker.network.driver.mtu": str(description.mtu),
    }
