"""The record of a container: what the engine knows of it, frozen; each change is a new record in one transaction.

Glossary: a container's *process* is its init (pid 1 inside); it is known by pid and start time, never by pid alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from guest_agent.runtime.cgroups import container_path
from guest_agent.wire.models import ContainerConfig, ContainerId, Endpoint, HostConfig, ImageId, PublishedPort
from guest_agent.wire.mounts import MountPoint
from guest_agent.wire.networks import EndpointSettings


class Status(StrEnum):
    """Docker's `State.Status`."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


class HealthStatus(StrEnum):
    """Docker's `State.Health.Status`."""

    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe of a health check gave; -1 where it took too long or couldn't be started."""

    start_ns: int
    end_ns: int
    exit_code: int
    output: str


@dataclass(frozen=True, slots=True)
class Health:
    """Where a container with a health check stands; `log` has the last probes, the newest last."""

    status: HealthStatus = HealthStatus.STARTING
    failing_streak: int = 0
    log: tuple[ProbeResult, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """Where a container stands in its life."""

    status: Status = Status.CREATED
    #: Made by a `run` that hasn't been acknowledged yet: after a crash, start-up removes it.
    provisional: bool = False
    pid: int = 0
    start_ticks: int = 0  #: field 22 of /proc/<pid>/stat
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    restart_count: int = 0
    #: The user stopped it: `always` and `on-failure` don't bring it back until it is started again.
    stopped_by_user: bool = False
    health: Health | None = None  #: None = it has no health check


@dataclass(frozen=True, slots=True)
class Container:
    """Everything that outlives the process."""

    id: ContainerId
    name: str
    created_ns: int
    image_id: ImageId
    image_name: str  #: as the user gave it: "mysql", "sha256:…"
    config: ContainerConfig  #: merged with the image's
    host_config: HostConfig
    path: str  #: the first word of what is executed
    args: tuple[str, ...]  #: the rest
    platform: str = "linux"
    mount_points: tuple[MountPoint, ...] = ()
    #: What was asked for; () is the network of its mode without more ado.
    networks: tuple[EndpointSettings, ...] = ()
    unconnected: bool = False  #: taken out of every network: `networks` () means none then
    endpoints: tuple[Endpoint, ...] = ()  #: filled while it runs
    ports: tuple[PublishedPort, ...] = ()  #: held while it runs
    state: State = field(default_factory=State)

    @property
    def short_id(self) -> str:
        return self.id[:12]

    @property
    def group(self) -> str:
        """Its control group, below each hierarchy's root."""
        return container_path(self.id, self.host_config.cgroup_parent)

    @property
    def running(self) -> bool:
        """Has a process (a paused one has, too)."""
        return self.state.status in (Status.RUNNING, Status.PAUSED)
