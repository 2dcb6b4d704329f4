"""The names that a container knows: its resolv.conf and hosts files, and the name server behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from guest_agent.networks import sandbox
from guest_agent.networks.failures import translated
from guest_agent.networks.name_service import NameService
from guest_agent.networks.names import (
    Asking,
    ResolverSettings,
    plan_host_network_hosts,
    plan_hosts,
    plan_own_resolver,
    plan_resolver,
    with_host_names,
)
from guest_agent.networks.settings import NetworkSettings
from guest_agent.wire.networks import BRIDGE, HOST


class ContainerNames:
    """Must be used on the loop's thread. `gateway` is the default network's, "" while it isn't there."""

    def __init__(self, settings: NetworkSettings, service: NameService, gateway: Callable[[], str]) -> None:
        self._settings = settings
        self._service = service
        self._gateway = gateway

    def resolver(
        self,
        mode: str = BRIDGE,
        servers: tuple[str, ...] = (),
        search: tuple[str, ...] = (),
        options: tuple[str, ...] = (),
    ) -> ResolverSettings:
        """The container's resolver settings: `.text()` is its resolv.conf; if `.wants_forwarder`, `serve`."""
        asked = ResolverSettings(servers, search, options)
        if mode == HOST:
            return plan_resolver(self._service.raw_host_settings(), asked, own_namespace=False)
        return plan_resolver(self._service.host_settings(), asked, own_namespace=True)

    def own_resolver(
        self, servers: tuple[str, ...] = (), search: tuple[str, ...] = (), options: tuple[str, ...] = ()
    ) -> tuple[ResolverSettings, Asking]:
        """The same for a container whose networks have names: its own name server asks those that it would ask."""
        return plan_own_resolver(self._service.host_settings(), ResolverSettings(servers, search, options))

    def serve(self, container_id: str, namespace: int, asking: Asking | None = None) -> None:
        """Answers name queries at 127.0.0.11 inside that namespace until `stop`."""
        with translated("open the name server of the container"):
            self._service.serve(container_id, namespace, asking or Asking())

    def serve_running(self, container_id: str, pid: int, asking: Asking) -> None:
        """The same for a running container, unless it has a name server."""
        if not self._service.serves(container_id):
            with translated("enter the container's namespace"), sandbox.namespace_of(pid) as namespace:
                self.serve(container_id, namespace, asking)

    def stop(self, container_id: str) -> None:
        """For a container that has been taken out of every network. Idempotent."""
        self._service.stop(container_id)

    def hosts_file(
        self,
        mode: str,
        hostname: str,
        addresses: Sequence[str] = (),
        extra: Iterable[str] = (),
        domainname: str = "",
    ) -> str:
        """The container's /etc/hosts; `extra` are "name:address" with docker's `host-gateway`."""
        host = self._settings.host_address
        if mode == HOST:
            return plan_host_network_hosts(_read_hosts(), with_host_names(extra, host), host or "127.0.0.1")
        named = with_host_names(extra, host if addresses else "")
        return plan_hosts(hostname, addresses, named, host or self._gateway(), domainname)


def _read_hosts() -> str:
    try:
        with open("/etc/hosts", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return "127.0.0.1\tlocalhost\n"
