"""What a create meant in older versions of the API (moby, api/server/router/container: postContainersCreate)."""

from __future__ import annotations

import dataclasses

from guest_agent.engine.requests import CreateRequest, UpdateRequest
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerConfig, HostConfig
from guest_agent.wire.mounts import MountRequest, ReadOnlyDepth

Version = tuple[int, int]


def adapt_create(request: CreateRequest, version: Version, cgroup_version: str) -> CreateRequest:
    """The request without what its version didn't know, and with that version's defaults. Raises InvalidArgument."""
    if version >= (1, 44):
        return request
    host = dataclasses.replace(
        request.host_config, mounts=tuple(_adapt_mount(mount, version) for mount in request.host_config.mounts)
    )
    if len(request.networks) > 1:
        names = ", ".join(one.network for one in request.networks)
        raise InvalidArgument(f"Container cannot be created with multiple network endpoints: {names}")
    if version < (1, 43):
        host = dataclasses.replace(host, annotations={})
    if version < (1, 42):
        host = dataclasses.replace(host, console_size=(0, 0))
    platform = request.platform if version >= (1, 41) else ""
    host = _older(host, version, cgroup_version)
    return dataclasses.replace(request, config=_without_interval(request.config), host_config=host, platform=platform)


def _without_interval(config: ContainerConfig) -> ContainerConfig:
    """A health check's StartInterval came with 1.44."""
    if config.healthcheck is None:
        return config
    return dataclasses.replace(config, healthcheck=dataclasses.replace(config.healthcheck, start_interval=0))


def adapt_update(request: UpdateRequest, version: Version) -> UpdateRequest:
    """The number of processes was nothing that an update could change."""
    if version >= (1, 40):
        return request
    return dataclasses.replace(request, resources=dataclasses.replace(request.resources, pids_limit=0))


def _older(host: HostConfig, version: Version, cgroup_version: str) -> HostConfig:
    if version < (1, 41) and cgroup_version == "1" and not host.cgroupns_mode:
        host = dataclasses.replace(host, cgroupns_mode="host")
    if version < (1, 40) and not host.ipc_mode:
        host = dataclasses.replace(host, ipc_mode="shareable")
    if version < (1, 25):
        host = dataclasses.replace(host, auto_remove=False)
    return host


def _adapt_mount(mount: MountRequest, version: Version) -> MountRequest:
    """Read-only binds weren't recursive, and --mount made no sources."""
    if mount.depth is ReadOnlyDepth.READONLY:
        raise InvalidArgument("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
    return dataclasses.replace(
        mount,
        depth=ReadOnlyDepth.OLD if mount.depth is ReadOnlyDepth.ENABLED else mount.depth,
        create_source=mount.create_source and (mount.bind_string or version >= (1, 42)),
        non_recursive=mount.non_recursive and version >= (1, 40),
    )
