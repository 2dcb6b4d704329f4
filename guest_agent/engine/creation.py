"""From a request and an image to a container's record, by docker's rules (daemon/create.go, daemon/volumes_unix.go)."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Iterable
from typing import TypeVar

from guest_agent.engine.sources import BindSources, missing_source
from guest_agent.runtime.environment import replace_or_append
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerConfig, ContainerPort, HostConfig, PortBinding
from guest_agent.wire.mounts import MountPoint, MountRequest, MountType

T = TypeVar("T")


def merge_config(wanted: ContainerConfig, image: ContainerConfig) -> ContainerConfig:
    """What the user said, completed by the image. Raises InvalidArgument where there is nothing to run."""
    entrypoint, command = _merge_command(wanted, image)
    if not entrypoint and not command:
        raise InvalidArgument("no command specified")
    return dataclasses.replace(
        wanted,
        entrypoint=entrypoint,
        command=command,
        environment=replace_or_append(image.environment, wanted.environment),
        exposed_ports=_union(image.exposed_ports, wanted.exposed_ports),
        volumes=_union(image.volumes, wanted.volumes),
        labels={**image.labels, **wanted.labels},
        working_dir=wanted.working_dir or image.working_dir,
        user=wanted.user or image.user,
        stop_signal=wanted.stop_signal or image.stop_signal,
        stop_timeout=wanted.stop_timeout if wanted.stop_timeout is not None else image.stop_timeout,
        healthcheck=wanted.healthcheck or image.healthcheck,
        shell=wanted.shell or image.shell,
    )


def _merge_command(wanted: ContainerConfig, image: ContainerConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    entrypoint, command = wanted.entrypoint, wanted.command
    if not entrypoint and not command:
        command = image.command
    if entrypoint is None:
        entrypoint = image.entrypoint
    # `--entrypoint ""` arrives as [""]: it clears the image's.
    words = tuple(entrypoint or ())
    return (() if words == ("",) else words), tuple(command or ())


def _union(first: Iterable[T], second: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def plan_argv(config: ContainerConfig) -> tuple[str, ...]:
    """What is executed: entrypoint, then command."""
    return (*(config.entrypoint or ()), *(config.command or ()))


def plan_port_bindings(config: ContainerConfig, host_config: HostConfig) -> tuple[PortBinding, ...]:
    """What is to be published; `-P` adds every exposed port that isn't named."""
    if not host_config.publish_all_ports:
        return host_config.port_bindings
    named = {binding.container_port for binding in host_config.port_bindings}
    rest = [PortBinding(port) for port in sorted(config.exposed_ports) if port not in named]
    return (*host_config.port_bindings, *rest)


def plan_exposed_ports(config: ContainerConfig, host_config: HostConfig) -> tuple[ContainerPort, ...]:
    """A published port counts as exposed."""
    return _union(config.exposed_ports, (binding.container_port for binding in host_config.port_bindings))


@dataclasses.dataclass(frozen=True, slots=True)
class PlannedMount:
    """A mount of a container before its volume exists: `volume` "" with type volume is an anonymous one."""

    type: MountType
    target: str
    source: str
    volume: str = ""
    read_only: bool = False
    propagation: str = ""
    create_source: bool = False
    copy_image_content: bool = False
    options: str = ""


def plan_mounts(config: ContainerConfig, host_config: HostConfig) -> tuple[PlannedMount, ...]:
    """The user's mounts and, where none of them covers it, a volume for each that the image declares.

    Raises InvalidArgument for a target that is relative, "/", or named twice.
    """
    planned = [_plan_mount(request) for request in host_config.mounts]
    targets = [mount.target for mount in planned]
    for target in targets:
        if targets.count(target) > 1:
            raise InvalidArgument(f"Duplicate mount point: {target}")
    for declared in config.volumes:
        target = clean_target(declared)
        if target not in targets:
            planned.append(PlannedMount(MountType.VOLUME, target, "", copy_image_content=True))
            targets.append(target)  # the image may declare it twice, as "/data" and "/data/"
    return tuple(planned)


def _plan_mount(request: MountRequest) -> PlannedMount:
    target = clean_target(request.target)
    if request.type is MountType.BIND and not request.source.startswith("/"):
        raise InvalidArgument(
            'invalid mount config for type "bind": '
            f"invalid mount path: '{request.source}' mount path must be absolute"
        )
    return PlannedMount(
        type=request.type,
        target=target,
        source=posixpath.normpath(request.source) if request.type is MountType.BIND else "",
        volume=request.source if request.type is MountType.VOLUME else "",
        read_only=request.read_only,
        propagation=request.propagation,
        create_source=request.create_source,
        copy_image_content=request.type is MountType.VOLUME and not request.no_copy,
        options=request.options,
    )


def clean_target(target: str) -> str:
    """A mount's target inside, normalised. Raises InvalidArgument."""
    if not target.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{target}' mount path must be absolute")
    clean = posixpath.normpath(target).replace("//", "/")
    if clean == "/":
        raise InvalidArgument("invalid specification: destination can't be '/'")
    return clean


def check_bind_source(mount: PlannedMount, sources: BindSources) -> None:
    """Make a missing source where `-v` asked for it; InvalidArgument where `--mount` did."""
    if mount.type is not MountType.BIND or sources.find(mount.source) is not None:
        return
    if not mount.create_source:
        raise missing_source(mount.source)
    sources.make(mount.source)


def mount_point(mount: PlannedMount, volume_name: str = "", volume_path: str = "") -> MountPoint:
    """The mount as inspect shows it, once its volume exists."""
    return MountPoint(
        type=mount.type,
        destination=mount.target,
        source=volume_path or mount.source,
        name=volume_name,
        driver="local" if volume_name else "",
        read_only=mount.read_only,
        propagation=(mount.propagation or "rprivate") if mount.type is MountType.BIND else "",
        mode=mount.options,
        anonymous=bool(volume_name) and not mount.volume,
    )


def wants_image_content(host_config: HostConfig, point: MountPoint) -> bool:
    """Whether an empty volume is to be filled from the image (not with `nocopy`)."""
    refused = {clean_target(request.target) for request in host_config.mounts if request.no_copy}
    return point.type is MountType.VOLUME and point.destination not in refused
