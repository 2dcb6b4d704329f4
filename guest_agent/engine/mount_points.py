"""Which mounts a container gets: others' (--volumes-from), the user's, and a volume for each that the image declares.

Of two with the same target the later one counts, as in moby's registerMountPoints.
"""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Iterable

from guest_agent.engine.container import Container
from guest_agent.engine.parts import Parts
from guest_agent.engine.sources import missing_source
from guest_agent.wire.errors import InvalidArgument, NotFound
from guest_agent.wire.models import ContainerConfig, HostConfig
from guest_agent.wire.mounts import MountPoint, MountRequest, MountType, ReadOnlyDepth

#: Docker gives a local volume this mode where none was asked for.
_VOLUME_MODE = "z"
_FROM_MODES = frozenset({"", "ro", "rw", "z", "Z"})


def make_mount_points(parts: Parts, config: ContainerConfig, host_config: HostConfig) -> tuple[MountPoint, ...]:
    """The mounts of a new container, its volumes made. Raises InvalidArgument, NotFound, Forbidden."""
    inherited = [point for text in host_config.volumes_from for point in _inherit(parts, text)]
    for request in host_config.mounts:
        _check_source(parts, request)
    points = plan_points(config, host_config, inherited)
    return tuple(_with_volume(parts, point, _request_for(point, host_config)) for point in points)


def _inherit(parts: Parts, text: str) -> Iterable[MountPoint]:
    """Not NotFound, which clients of a create take for a missing image."""
    reference, access = parse_volumes_from(text)
    try:
        donor = parts.table.find(reference)
    except NotFound as error:
        raise InvalidArgument(error.message, error.hint) from None
    return plan_inherited(donor, read_only=access == "ro")


def parse_volumes_from(text: str) -> tuple[str, str]:
    """ "container[:ro]" -> (container, mode): access and label only. Raises InvalidArgument."""
    if not text:
        raise InvalidArgument("volumes-from specification cannot be an empty string")
    reference, _, mode = text.partition(":")
    words = mode.split(",")
    if not set(words) <= _FROM_MODES or len(words) > 2 or {"ro", "rw"} <= set(words):
        raise InvalidArgument(f"invalid mode: {mode}")
    return reference, "ro" if "ro" in words else "rw"


def plan_inherited(source: Container, *, read_only: bool) -> list[MountPoint]:
    """Another container's mounts, of which nothing is filled from our image.

    Its anonymous volumes go with whoever had them last.
    """
    return [
        dataclasses.replace(point, read_only=point.read_only or read_only, mode="", fill=False)
        for point in source.mount_points
    ]


def plan_points(
    config: ContainerConfig, host_config: HostConfig, inherited: Iterable[MountPoint] = ()
) -> tuple[MountPoint, ...]:
    """Pure. A volume without a name is an anonymous one that is to be made.

    Raises InvalidArgument for a target that is relative, "/", or named twice by the user.
    """
    points = {point.destination: point for point in inherited}
    wanted = [clean_target(request.target) for request in host_config.mounts]
    for target in wanted:
        if wanted.count(target) > 1:
            raise InvalidArgument(f"Duplicate mount point: {target}")
    points |= {target: _plan_point(request) for target, request in zip(wanted, host_config.mounts, strict=True)}
    taken = {clean_target(target) for target in host_config.tmpfs}
    for declared in config.volumes:
        target = clean_target(declared)
        if target not in points and target not in taken:
            points[target] = MountPoint(MountType.VOLUME, target, "", anonymous=True, fill=True)
    return tuple(points.values())


def _plan_point(request: MountRequest) -> MountPoint:
    is_bind, is_volume = request.type is MountType.BIND, request.type is MountType.VOLUME
    if is_bind and not request.source.startswith("/"):
        raise InvalidArgument(
            'invalid mount config for type "bind": '
            f"invalid mount path: '{request.source}' mount path must be absolute"
        )
    return MountPoint(
        type=request.type,
        destination=clean_target(request.target),
        source=posixpath.normpath(request.source) if is_bind else "",
        name=request.source if is_volume else "",
        read_only=request.read_only,
        propagation=(request.propagation or "rprivate") if is_bind else request.propagation,
        mode=request.mode or (_VOLUME_MODE if is_volume else ""),
        anonymous=is_volume and not request.source,
        options=request.options,
        non_recursive=request.non_recursive,
        depth=request.depth if is_bind else ReadOnlyDepth.ENABLED,
        create_source=request.create_source,
        fill=is_volume and not request.no_copy,
    )


def clean_target(target: str) -> str:
    """A mount's target inside, normalised. Raises InvalidArgument."""
    if not target.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{target}' mount path must be absolute")
    clean = posixpath.normpath(target).replace("//", "/")
    if clean == "/":
        raise InvalidArgument("invalid specification: destination can't be '/'")
    return clean


def _check_source(parts: Parts, request: MountRequest) -> None:
    """`-v` makes a missing source, when the container starts; `--mount` refuses now. Raises Forbidden, too."""
    missing = request.type is MountType.BIND and parts.sources.find(request.source) is None
    if missing and not request.create_source:
        raise missing_source(request.source)


def _request_for(point: MountPoint, host_config: HostConfig) -> MountRequest | None:
    """What asked for it; None for what another container or the image brought."""
    return next((one for one in host_config.mounts if clean_target(one.target) == point.destination), None)


def _with_volume(parts: Parts, point: MountPoint, request: MountRequest | None) -> MountPoint:
    if point.type is not MountType.VOLUME or point.source:
        return point
    volume = parts.volumes.create(
        point.name,
        driver=request.driver if request else "",
        options=request.driver_options if request else {},
        labels=request.labels if request else {},
    )
    return dataclasses.replace(point, name=volume.name, driver=volume.driver, source=volume.mountpoint)
