"""Pure: mounts to Docker's JSON, as they were asked for (HostConfig.Mounts) and as a container has them (Mounts)."""

from __future__ import annotations

from guest_agent.wire.mounts import MountPoint, MountRequest, ReadOnlyDepth

Json = dict[str, object]

_DEPTHS = {ReadOnlyDepth.WRITABLE: "ReadOnlyNonRecursive", ReadOnlyDepth.READONLY: "ReadOnlyForceRecursive"}


def render_mount_request(mount: MountRequest) -> Json:
    """One of `Mounts`; what wasn't said is left out, as Go's `omitempty` does."""
    return {"Type": str(mount.type)} | _said(
        Source=mount.source,
        Target=mount.target,
        ReadOnly=mount.read_only,
        Consistency=mount.consistency,
        BindOptions=_bind_options(mount),
        VolumeOptions=_volume_options(mount),
        TmpfsOptions=_said(SizeBytes=mount.tmpfs_size, Mode=mount.tmpfs_mode),
    )


def _said(**values: object) -> Json:
    return {name: value for name, value in values.items() if value}


def _bind_options(mount: MountRequest) -> Json:
    options = _said(
        Propagation=mount.propagation, NonRecursive=mount.non_recursive, CreateMountpoint=mount.create_source
    )
    return options | ({_DEPTHS[mount.depth]: True} if mount.depth in _DEPTHS else {})


def _volume_options(mount: MountRequest) -> Json:
    driver = _said(Name=mount.driver, Options=dict(mount.driver_options))
    return _said(NoCopy=mount.no_copy, Labels=dict(mount.labels), DriverConfig=driver)


def render_mount(mount: MountPoint) -> Json:
    """One of a container's `Mounts`."""
    rendered: Json = {"Type": str(mount.type)}
    if mount.name:
        rendered["Name"] = mount.name
    rendered["Source"] = mount.source
    rendered["Destination"] = mount.destination
    if mount.driver:
        rendered["Driver"] = mount.driver
    return rendered | {"Mode": mount.mode, "RW": not mount.read_only, "Propagation": mount.propagation}
