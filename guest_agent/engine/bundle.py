"""A container's OCI bundle: what its config.json follows from, and the small files beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable

from guest_agent.engine.container import Container
from guest_agent.engine.creation import plan_argv
from guest_agent.engine.links import find_links, link_variables
from guest_agent.engine.parts import Parts
from guest_agent.runtime.devices import find_devices, list_host_devices, refuse_device_requests
from guest_agent.runtime.environment import plan_environment
from guest_agent.runtime.filesystems import plan_bind, plan_tmpfs
from guest_agent.runtime.spec import SpecInputs, dump_spec, plan_spec, with_seccomp
from guest_agent.runtime.users import resolve_user
from guest_agent.wire.errors import Conflict, HostFailed, HostvmError, InvalidArgument
from guest_agent.wire.models import Endpoint
from guest_agent.wire.mounts import Mount, MountPoint, MountType

#: Files that the engine writes and the container sees at these places.
ENGINE_FILES = {"hosts": "/etc/hosts", "hostname": "/etc/hostname", "resolv.conf": "/etc/resolv.conf"}


def borrow_files(parts: Parts, container: Container, other: Container) -> None:
    """Whoever shares another's network has its names as well: those of this moment."""
    for name in ENGINE_FILES:
        shutil.copyfile(f"{parts.paths.bundle(other.id)}/{name}", f"{parts.paths.bundle(container.id)}/{name}")


def plan_hosts_file(parts: Parts, container: Container, endpoints: Iterable[Endpoint]) -> str:
    """The container's /etc/hosts with its addresses in these networks."""
    config, host, mode = container.config, container.host_config, container.host_config.network_mode
    addresses = [one for endpoint in endpoints for one in (endpoint.address, endpoint.address6) if one]
    extra = (*host.extra_hosts, *(link.host for link in find_links(parts, container)))
    return parts.networks.names.hosts_file(mode, config.hostname, addresses, extra, config.domainname)


def write_config(parts: Parts, container: Container, network_namespace: str | None) -> None:
    """Write config.json into the bundle; the root file system is mounted and the engine's files are there."""
    inputs = _collect_inputs(parts, container, network_namespace)
    inputs = with_seccomp(inputs, parts.filters, precompiled=parts.runtime.choice.precompiled_seccomp)
    with open(f"{parts.paths.bundle(container.id)}/config.json", "wb") as file:
        file.write(dump_spec(plan_spec(inputs)))


def _collect_inputs(parts: Parts, container: Container, network_namespace: str | None) -> SpecInputs:
    config, host_config = container.config, container.host_config
    refuse_device_requests(host_config.resources.device_requests)
    rootfs = parts.paths.rootfs(container.id)
    user = resolve_user(rootfs, config.user, host_config.group_add)
    hostname = find_hostname(container)
    return SpecInputs(
        container_id=container.id,
        hostname=hostname,
        config=config,
        host_config=host_config,
        argv=plan_argv(config),
        environment=plan_environment(
            hostname,
            (*link_variables(parts, container), *config.environment),
            tty=config.tty,
            home=user.home,
        ),
        user=user,
        rootfs=rootfs,
        cgroups_path=container.group,
        cgroups=parts.host.cgroups,
        available_capabilities=parts.host.capabilities,
        mounts=plan_container_mounts(parts, container),
        network_namespace=network_namespace,
        ipc_pid=_joined_pid(parts, "IPC", host_config.ipc_mode),
        shared_memory=_find_shared_memory(parts, container),
        pid_pid=_joined_pid(parts, "PID", host_config.pid_mode),
        console_size=host_config.console_size,
        init_binary=parts.host.init_binary,
        host_devices=list_host_devices() if host_config.privileged else (),
        extra_devices=find_devices(host_config.resources.devices),
        annotations=host_config.annotations,
    )


def find_hostname(container: Container) -> str:
    return os.uname().nodename if container.host_config.uts_mode == "host" else container.config.hostname


def _joined_pid(parts: Parts, kind: str, mode: str) -> int:
    """The init whose namespace is joined; 0 for one of its own. Raises HostFailed: dockerd answers 500."""
    prefix, _colon, reference = mode.partition(":")
    if prefix != "container":
        return 0
    try:
        return _find_donor(parts, kind, reference).state.pid
    except HostvmError as error:
        raise HostFailed(f"failed to join {kind} namespace: {error.message}") from None


def _find_donor(parts: Parts, kind: str, reference: str) -> Container:
    other = parts.table.find(reference)
    if not other.running:
        raise Conflict(f"container {other.id} is not running")
    if kind == "IPC" and other.host_config.ipc_mode not in ("shareable", "host"):
        hint = "use IpcMode:shareable for the donor container"
        raise InvalidArgument(f"container {other.id}: non-shareable IPC (hint: {hint})")
    return other


def _find_shared_memory(parts: Parts, container: Container) -> str:
    mode, _colon, reference = container.host_config.ipc_mode.partition(":")
    if mode == "shareable":
        return parts.paths.shared_memory(container.id)
    if mode != "container":
        return ""
    donor = parts.table.find(reference)
    return "/dev/shm" if donor.host_config.ipc_mode == "host" else parts.paths.shared_memory(donor.id)


def find_running(parts: Parts, reference: str, joining: str) -> Container:
    """The container whose network another one joins. Conflict where it doesn't run, HostFailed where it is itself."""
    container = parts.table.find(reference)
    if container.id == joining:
        raise HostFailed("cannot join own network")
    if not container.running:
        raise Conflict(f"cannot join network of a non running container: {container.id}")
    return container


def plan_container_mounts(parts: Parts, container: Container) -> tuple[Mount, ...]:
    """The engine's files, unless the user mounted something there, and the container's mount points."""
    tmpfs = container.host_config.tmpfs
    taken = {*tmpfs, *(point.destination for point in container.mount_points)}
    bundle = parts.paths.bundle(container.id)
    files = [
        Mount(target, "bind", f"{bundle}/{name}", ("rbind", "rprivate"))
        for name, target in ENGINE_FILES.items()
        if target not in taken and os.path.exists(f"{bundle}/{name}")
    ]
    points = (_plan_mount(parts, point) for point in container.mount_points)
    return (*files, *points, *(plan_tmpfs(target, options) for target, options in tmpfs.items()))


def _plan_mount(parts: Parts, point: MountPoint) -> Mount:
    if point.type is MountType.TMPFS:
        return plan_tmpfs(point.destination, point.options or point.mode)
    if point.type is MountType.VOLUME:  # not looked at: it may lie on a server that doesn't answer
        return plan_bind(point, point.source, folder=True)
    source = _provide_source(parts, point)
    return plan_bind(point, source, folder=os.path.isdir(source))


def _provide_source(parts: Parts, point: MountPoint) -> str:
    """`-v` makes a missing source, at each start."""
    if point.create_source and parts.sources.find(point.source) is None:
        parts.sources.make(point.source)
    return parts.sources.need(point.source)
