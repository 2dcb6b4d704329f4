"""The values that the engine's parts exchange: frozen, complete, with every default explicit.

Glossary: an *image* is a configuration (its digest is the image id) and an ordered list of layers; a *reference* is a
name that points to one. A *layer* is an unpacked change set, known by its diff id; a *mount* is a layer stack or a host
path put somewhere. A *container* is a record; its *process* is the kernel's.

Docker's JSON spelling stays in `api/`; here the names are Python's. Sizes are bytes, times are nanoseconds since the
epoch (0 = never) unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from guest_agent.wire.mounts import MountRequest
from guest_agent.wire.resources import Resources

ContainerId = NewType("ContainerId", str)  #: 64 hex digits
ImageId = NewType("ImageId", str)  #: "sha256:" + 64 hex digits: the digest of the image's configuration
Digest = NewType("Digest", str)  #: "sha256:" + 64 hex digits
DiffId = NewType("DiffId", str)  #: digest of a layer's uncompressed tar


class Protocol(StrEnum):
    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True, order=True)
class ContainerPort:
    """A port inside a container, as in `80/tcp`."""

    number: int
    protocol: Protocol = Protocol.TCP

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


@dataclass(frozen=True, slots=True, order=True)
class PortBinding:
    """A wish to publish: `host_ip` "" means every address; `host_port` 0 means that the kernel chooses."""

    container_port: ContainerPort
    host_ip: str = ""
    host_port: int = 0
    #: Last port of the range from which a free one may be taken (`-p 8000-8010:80`); 0 = exactly `host_port`.
    host_port_end: int = 0
    protocol_said: str = ""  #: "/udp" behind the host's port: it means nothing, and is shown again


@dataclass(frozen=True, slots=True, order=True)
class PublishedPort:
    """A port that is held on the host: `host_ip` is an address ("0.0.0.0" and "::" come as two values)."""

    container_port: ContainerPort
    host_ip: str
    host_port: int


class RestartCondition(StrEnum):
    NO = "no"
    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    UNLESS_STOPPED = "unless-stopped"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    condition: RestartCondition = RestartCondition.NO
    maximum_retry_count: int = 0  #: for on-failure; 0 = no limit


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """How a container is asked whether it is well. Times in ns; 0 (or an empty test) = the image's, else docker's."""

    test: tuple[str, ...] = ()  #: ("CMD", word…), ("CMD-SHELL", line), ("NONE",)
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    retries: int = 0
    start_interval: int = 0  #: between probes in the start period


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """What runs, portable between hosts (Docker's `Config`).

    `entrypoint` and `command` are None where nothing was said, so that the image's apply; () clears the image's.
    """

    image: str = ""
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    hostname: str = ""
    domainname: str = ""
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    exposed_ports: tuple[ContainerPort, ...] = ()
    volumes: tuple[str, ...] = ()  #: targets of anonymous volumes
    stop_signal: str = ""
    stop_timeout: int | None = None  #: seconds
    healthcheck: Healthcheck | None = None
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()
    network_disabled: bool = False
    args_escaped: bool = False
    mac_address: str = ""  #: in the network of the mode; the way before API 1.44


#: moby oci/defaults.go; the last two of MASKED_PATHS from 25.0 and CVE fixes since.
MASKED_PATHS = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True, slots=True)
class HostConfig:
    """How it is tied to this host (Docker's `HostConfig`)."""

    mounts: tuple[MountRequest, ...] = ()
    binds: tuple[str, ...] = ()  #: the `-v` strings as given, for inspect; already parsed into `mounts`
    tmpfs: dict[str, str] = field(default_factory=dict)  #: --tmpfs: target -> options
    volumes_from: tuple[str, ...] = ()  #: "container[:ro]"
    volume_driver: str = ""
    port_bindings: tuple[PortBinding, ...] = ()
    publish_all_ports: bool = False
    network_mode: str = "default"  #: default, bridge, host, none, container:<id>, or a network's name
    resources: Resources = field(default_factory=Resources)
    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)
    auto_remove: bool = False
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    read_only_rootfs: bool = False
    init: bool | None = None  #: None where nothing was said
    extra_hosts: tuple[str, ...] = ()  #: "name:address"
    links: tuple[str, ...] = ()  #: "container:alias"
    dns: tuple[str, ...] | None = None  #: None as ()
    dns_options: tuple[str, ...] | None = None
    dns_search: tuple[str, ...] | None = None
    group_add: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    shm_size: int = 64 << 20
    sysctls: dict[str, str] = field(default_factory=dict)
    pid_mode: str = ""  #: "", "host", "container:<id>"
    ipc_mode: str = ""  #: "" or "private", "host", "shareable", "none", "container:<id>"
    uts_mode: str = ""  #: "" or "host"
    cgroupns_mode: str = ""  #: "" = the host's default, "private", "host"
    userns_mode: str = ""
    oom_score_adj: int = 0
    log_driver: str = "json-file"
    log_options: dict[str, str] = field(default_factory=dict)
    console_size: tuple[int, int] = (0, 0)  #: rows, columns
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None
    cgroup_parent: str = ""
    runtime: str = ""  #: as asked for; "" = the engine's
    isolation: str = ""  #: "" or "default"
    storage_opt: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    container_id_file: str = ""  #: where the client wrote the id

    @property
    def resolving(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """What was asked for: servers, search domains, options."""
        return self.dns or (), self.dns_search or (), self.dns_options or ()


@dataclass(frozen=True, slots=True)
class Origin:
    """What docker notes of the container that it committed an image from, or built it in, and of itself."""

    container: str = ""  #: its id
    config: ContainerConfig | None = None
    docker_version: str = ""


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The configuration of an image, parsed from its JSON (OCI image-spec config.md, Docker's superset)."""

    id: ImageId
    architecture: str
    os: str
    variant: str
    created: str  #: RFC 3339 as found, "" if absent
    config: ContainerConfig
    diff_ids: tuple[DiffId, ...]
    author: str = ""
    comment: str = ""
    history: tuple[HistoryEntry, ...] = ()
    origin: Origin = field(default_factory=Origin)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    created: str = ""
    created_by: str = ""
    comment: str = ""
    empty_layer: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the store with every name that points to it."""

    config: ImageConfig
    tags: tuple[str, ...]  #: familiar form: "busybox:latest", "localhost:5000/a/b:1"
    digests: tuple[str, ...]  #: familiar form: "busybox@sha256:…"
    layer_sizes: tuple[int, ...]  #: bytes of each unpacked layer, in the order of `config.diff_ids`
    created_ns: int  #: of `config.created`
    parent: str = ""
    manifest_digest: str = ""
    tagged_ns: int = 0  #: when a user last gave it a name; 0 = never

    @property
    def size(self) -> int:
        """Bytes of all its unpacked layers."""
        return sum(self.layer_sizes)


@dataclass(frozen=True, slots=True)
class ImageDeletion:
    """One line of `rmi`: either `untagged` (familiar reference) or `deleted` (image id, or chain id of a layer)."""

    untagged: str = ""
    deleted: str = ""
    image_id: str = ""  #: of the image that it happened to; "" for a layer


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A container's place in a network. Empty addresses for the networks `host` and `none`."""

    network: str
    network_id: str
    endpoint_id: str = ""
    address: str = ""  #: "172.30.0.2"
    prefix_length: int = 0
    gateway: str = ""
    mac_address: str = ""
    host_interface: str = ""
    aliases: tuple[str, ...] = ()
    interface: str = "eth0"
    address6: str = ""
    prefix_length6: int = 0
    gateway6: str = ""
    names: tuple[str, ...] = ()  #: that the network's other members find it by
    links: tuple[str, ...] = ()  #: "container:alias": further names that this container alone knows members by
    internal: bool = False  #: the network has no way out


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened (Docker's event: Type, Action, Actor)."""

    type: str  #: container, image, volume, network, daemon
    action: str
    actor_id: str
    attributes: dict[str, str]
    time_ns: int


@dataclass(frozen=True, slots=True)
class Credentials:
    """What X-Registry-Auth carries. `identity_token` is an OAuth2 refresh token."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""


PlatformName = tuple[str, str, str]  #: operating system, architecture and variant in Go's words


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a registry has under a name: a manifest or an index, and the platforms that it is for."""

    media_type: str
    digest: Digest
    size: int
    platforms: tuple[PlatformName, ...]


@dataclass(frozen=True, slots=True)
class ListEntry:
    """A manifest that a manifest list is to name; `reference` says where it is."""

    reference: str
    media_type: str
    digest: Digest
    size: int
    platform: PlatformName
    os_version: str = ""
    os_features: tuple[str, ...] = ()
