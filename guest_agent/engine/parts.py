"""The subsystems that the use cases work with, wired once by `Engine`."""

from __future__ import annotations

from dataclasses import dataclass

from guest_agent.build.cache import BuildCache
from guest_agent.engine.background import BackgroundTasks
from guest_agent.engine.container import Container
from guest_agent.engine.log_config import LogDefaults
from guest_agent.engine.repositories import Repositories
from guest_agent.engine.sources import BindSources
from guest_agent.engine.table import ContainerTable
from guest_agent.events.bus import EventBus
from guest_agent.images.store import ImageStore
from guest_agent.images.transport import RegistrySettings
from guest_agent.keeper.client import KeeperClient
from guest_agent.layers.store import LayerStore
from guest_agent.networks.networks import Networks
from guest_agent.runtime.cgroups import CgroupFacts
from guest_agent.runtime.crun import OciRuntime
from guest_agent.runtime.oom import OomWatch
from guest_agent.runtime.seccomp import FilterCache
from guest_agent.runtime.support import LimitSupport
from guest_agent.store.paths import EnginePaths
from guest_agent.store.records import Records
from guest_agent.volumes.store import Volumes
from guest_agent.wire.models import Endpoint


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What was found out about this host at the engine's start."""

    cgroups: CgroupFacts
    support: LimitSupport  #: which limits can be held
    capabilities: tuple[str, ...]  #: that a container can be given here
    machine: str  #: uname -m
    init_binary: str | None  #: what --init runs


@dataclass(frozen=True, slots=True)
class Parts:
    """One of each."""

    paths: EnginePaths
    records: Records
    table: ContainerTable
    keeper: KeeperClient
    layers: LayerStore
    images: ImageStore
    volumes: Volumes
    networks: Networks
    runtime: OciRuntime
    filters: FilterCache
    oom: OomWatch
    events: EventBus
    tasks: BackgroundTasks
    host: HostFacts
    registries: RegistrySettings
    sources: BindSources
    repositories: Repositories
    build_cache: BuildCache
    logs: LogDefaults

    def tell(self, container: Container, action: str, **attributes: str) -> None:
        """Publish a container's event with docker's attributes: labels, image and name, then the action's own."""
        described = {**container.config.labels, "image": container.image_name, "name": container.name, **attributes}
        self.events.publish("container", action, container.id, described)

    def tell_network(self, endpoint: Endpoint, action: str, container_id: str) -> None:
        """Publish that a container joined or left a network."""
        kind = self.networks.driver_of(endpoint.network_id)
        attributes = {"container": container_id, "name": endpoint.network, "type": kind}
        self.events.publish("network", action, endpoint.network_id, attributes)


def stdio_key(container_id: str) -> str:
    """Under which the keeper holds a container's streams."""
    return f"stdio:{container_id}"
