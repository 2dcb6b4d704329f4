"""The OCI spec of a container: planned by small contributors, each of which adds one concern to a growing dictionary.

Pure: everything about this machine comes in through `SpecInputs`. The defaults are docker's (moby, oci/defaults.go and
daemon/oci_linux.go), with one that is stricter: a private cgroup namespace on v1 as well.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from guest_agent.runtime import devices, filesystems, limits
from guest_agent.runtime.cgroups import CgroupFacts
from guest_agent.runtime.privileges import parse_security_options, plan_capabilities
from guest_agent.runtime.seccomp import FilterCache, default_profile, parse_profile, plan_seccomp
from guest_agent.runtime.users import ResolvedUser
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import MASKED_PATHS, READONLY_PATHS, ContainerConfig, HostConfig
from guest_agent.wire.mounts import Mount

Json = dict[str, object]

INIT_PATH = "/sbin/docker-init"
#: crun >= 0.21 takes the program instead of compiling linux.seccomp (containers/crun#578).
SECCOMP_ANNOTATION = "run.oci.seccomp_bpf_data"
_NAMESPACED_SYSCTLS = frozenset(
    ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax")
) | {"kernel.shmmni", "kernel.shm_rmid_forced", "kernel.domainname"}


@dataclass(frozen=True, slots=True)
class SpecInputs:
    """Everything that the spec follows from.

    `argv`, `environment` and `mounts` are final (image merged, sources resolved, hosts files among the mounts).
    `network_namespace` is a path, None for the host's. `ipc_pid` and `pid_pid` name the init of the container that is
    joined (`--ipc container:x`), 0 otherwise. `seccomp` is `linux.seccomp`, None for unconfined; with `seccomp_bpf`
    it is handed over compiled. `host_devices` is what --privileged sees.
    """

    container_id: str
    hostname: str
    config: ContainerConfig
    host_config: HostConfig
    argv: tuple[str, ...]
    environment: tuple[str, ...]
    user: ResolvedUser
    rootfs: str
    cgroups_path: str
    cgroups: CgroupFacts
    available_capabilities: tuple[str, ...]
    mounts: tuple[Mount, ...] = ()
    network_namespace: str | None = None
    ipc_pid: int = 0
    shared_memory: str = ""  #: what /dev/shm shows, where others see it, too
    pid_pid: int = 0
    seccomp: Mapping[str, object] | None = None
    seccomp_bpf: bytes | None = None
    console_size: tuple[int, int] = (0, 0)
    init_binary: str | None = None
    host_devices: tuple[devices.DeviceNode, ...] = ()
    extra_devices: tuple[devices.DeviceNode, ...] = ()  #: --device, looked up by `devices.find_devices`
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def capabilities(self) -> tuple[str, ...]:
        host = self.host_config
        return plan_capabilities(host.cap_add, host.cap_drop, self.available_capabilities, privileged=host.privileged)


def plan_spec(inputs: SpecInputs) -> Json:
    """The whole of config.json. InvalidArgument and Unsupported for what docker refuses, too."""
    spec: Json = {"ociVersion": "1.0.2", "linux": {}}
    for contribute in _CONTRIBUTORS:
        contribute(inputs, spec)
    return spec


def with_seccomp(inputs: SpecInputs, filters: FilterCache, *, precompiled: bool) -> SpecInputs:
    """The same with the filter that its --security-opt, --privileged and capabilities ask for.

    `precompiled` says whether the runtime takes BPF (`RuntimeChoice.precompiled_seccomp`).
    """
    wanted = parse_security_options(inputs.host_config.security_opt).seccomp
    if inputs.host_config.privileged or wanted == "unconfined":
        return dataclasses.replace(inputs, seccomp=None, seccomp_bpf=None)
    profile = parse_profile(wanted) if wanted else default_profile()
    planned = plan_seccomp(profile, inputs.capabilities, os.uname().machine)
    return dataclasses.replace(inputs, seccomp=planned, seccomp_bpf=filters.compiled(planned) if precompiled else None)


def dump_spec(spec: Mapping[str, object]) -> bytes:
    return json.dumps(spec, separators=(",", ":")).encode()


def plan_exec_process(
    inputs_config: HostConfig,
    argv: tuple[str, ...],
    environment: tuple[str, ...],
    user: ResolvedUser,
    available_capabilities: tuple[str, ...],
    *,
    working_dir: str = "/",
    tty: bool = False,
    privileged: bool = False,
    console_size: tuple[int, int] = (0, 0),
) -> Json:
    """The `process` object of `crun exec --process`; `privileged` is `exec --privileged`."""
    host = inputs_config
    names = plan_capabilities(
        host.cap_add, host.cap_drop, available_capabilities, privileged=privileged or host.privileged
    )
    options = parse_security_options(host.security_opt)
    process = _plan_process(argv, environment, working_dir, user, names, tty, console_size)
    process["noNewPrivileges"] = options.no_new_privileges
    if host.resources.ulimits:
        process["rlimits"] = limits.plan_rlimits(host.resources.ulimits)
    return process


def _plan_process(
    argv: tuple[str, ...],
    environment: tuple[str, ...],
    working_dir: str,
    user: ResolvedUser,
    capabilities: tuple[str, ...],
    tty: bool,
    console_size: tuple[int, int],
) -> Json:
    process: Json = {
        "terminal": tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": [user.gid, *user.additional_gids]},
        "args": list(argv),
        "env": list(environment),
        "cwd": working_dir or "/",
        "capabilities": _capability_sets(capabilities, user.uid),
    }
    if tty and any(console_size):
        process["consoleSize"] = {"height": console_size[0], "width": console_size[1]}
    return process


def _capability_sets(names: tuple[str, ...], uid: int) -> Json:
    """A user other than root has none but the bound of what set-uid programs may get, as after execve(2)."""
    sets = ("bounding", "effective", "permitted") if uid == 0 else ("bounding",)
    return {name: list(names) for name in sets}


def _add_process(inputs: SpecInputs, spec: Json) -> None:
    config, host = inputs.config, inputs.host_config
    argv = (INIT_PATH, "--", *inputs.argv) if _wants_init(inputs) else inputs.argv
    process = _plan_process(
        argv, inputs.environment, config.working_dir, inputs.user, inputs.capabilities, config.tty, inputs.console_size
    )
    options = parse_security_options(host.security_opt)
    process["noNewPrivileges"] = options.no_new_privileges
    process["oomScoreAdj"] = host.oom_score_adj
    if options.apparmor and not host.privileged:
        process["apparmorProfile"] = options.apparmor
    if host.resources.ulimits:
        process["rlimits"] = limits.plan_rlimits(host.resources.ulimits)
    spec["process"] = process


def _wants_init(inputs: SpecInputs) -> bool:
    """Only as the first process of a namespace of its own: others' have one, the host's or a container's."""
    return bool(inputs.host_config.init and inputs.init_binary and not inputs.host_config.pid_mode)


def _add_root(inputs: SpecInputs, spec: Json) -> None:
    spec["root"] = {"path": inputs.rootfs, "readonly": inputs.host_config.read_only_rootfs}


def _add_names(inputs: SpecInputs, spec: Json) -> None:
    if inputs.host_config.uts_mode != "host":
        spec["hostname"] = inputs.hostname
        if inputs.config.domainname:
            spec["domainname"] = inputs.config.domainname


def _add_mounts(inputs: SpecInputs, spec: Json) -> None:
    mounts = inputs.mounts
    if _wants_init(inputs):
        mounts += (Mount(INIT_PATH, "bind", inputs.init_binary or "", ("bind", "ro")),)
    if propagation := filesystems.plan_root_propagation(mounts):
        _linux(spec)["rootfsPropagation"] = propagation
    planned = filesystems.plan_mounts(inputs.host_config, mounts, inputs.shared_memory)
    spec["mounts"] = [
        {"destination": one.destination, "type": one.type, "source": one.source, "options": list(one.options)}
        for one in planned
    ]


def _add_namespaces(inputs: SpecInputs, spec: Json) -> None:
    host = inputs.host_config
    wanted: list[Json] = [{"type": "mount"}]
    if inputs.network_namespace is not None:
        wanted.append({"type": "network", "path": inputs.network_namespace})
    if host.uts_mode != "host":
        wanted.append({"type": "uts"})
    wanted += _joinable("pid", host.pid_mode, inputs.pid_pid)
    wanted += _joinable("ipc", host.ipc_mode, inputs.ipc_pid)
    if _cgroup_namespace(inputs):
        wanted.append({"type": "cgroup"})
    _linux(spec)["namespaces"] = wanted


def _joinable(kind: str, mode: str, pid: int) -> list[Json]:
    if mode == "host":
        return []
    return [{"type": kind, "path": f"/proc/{pid}/ns/{kind}"} if pid else {"type": kind}]


def _cgroup_namespace(inputs: SpecInputs) -> bool:
    """Private but where the host's is asked for, or a privileged container on v1 may want to make groups itself."""
    mode = inputs.host_config.cgroupns_mode
    if mode:
        return mode == "private"
    return inputs.cgroups.version == 2 or not inputs.host_config.privileged


def _add_resources(inputs: SpecInputs, spec: Json) -> None:
    linux = _linux(spec)
    if inputs.cgroups.version == 0:
        return
    planned = limits.plan_resources(inputs.host_config.resources, inputs.cgroups)
    host = inputs.host_config
    planned["devices"] = devices.plan_device_rules(host.privileged, inputs.extra_devices, host.resources.device_rules)
    linux["resources"] = planned
    linux["cgroupsPath"] = inputs.cgroups_path


def _add_devices(inputs: SpecInputs, spec: Json) -> None:
    nodes = inputs.host_devices if inputs.host_config.privileged else ()
    by_path = {node.path: node for node in (*nodes, *inputs.extra_devices)}
    if by_path:
        _linux(spec)["devices"] = [devices.plan_device(node) for node in by_path.values()]


def _add_hidden_paths(inputs: SpecInputs, spec: Json) -> None:
    host, linux = inputs.host_config, _linux(spec)
    if host.privileged:
        return
    masked = MASKED_PATHS if host.masked_paths is None else host.masked_paths
    readonly = READONLY_PATHS if host.readonly_paths is None else host.readonly_paths
    linux["maskedPaths"] = list(masked)
    linux["readonlyPaths"] = list(readonly)


def _add_sysctls(inputs: SpecInputs, spec: Json) -> None:
    """docker >= 20.10: in its own network namespace, any user may ping and bind low ports."""
    planned = dict(inputs.host_config.sysctls)
    for name in planned:
        _check_sysctl(name, inputs)
    if inputs.network_namespace is not None:
        planned.setdefault("net.ipv4.ip_unprivileged_port_start", "0")
        planned.setdefault("net.ipv4.ping_group_range", "0 2147483647")
    if planned:
        _linux(spec)["sysctl"] = planned


def _check_sysctl(name: str, inputs: SpecInputs) -> None:
    if name.startswith("net."):
        if inputs.network_namespace is None:
            raise InvalidArgument(f"sysctl '{name}' not allowed in host network namespace")
    elif name in _NAMESPACED_SYSCTLS or name.startswith("fs.mqueue."):
        if inputs.host_config.ipc_mode == "host":
            raise InvalidArgument(f"sysctl '{name}' not allowed in host ipc namespace")
    else:
        raise InvalidArgument(f"sysctl '{name}' is not allowed", "only sysctls that have a namespace can be set")


def _add_seccomp(inputs: SpecInputs, spec: Json) -> None:
    if inputs.seccomp is None or inputs.host_config.privileged:
        return
    if inputs.seccomp_bpf is None:
        _linux(spec)["seccomp"] = dict(inputs.seccomp)
        return
    annotations = cast(Json, spec.setdefault("annotations", {}))
    annotations[SECCOMP_ANNOTATION] = base64.b64encode(inputs.seccomp_bpf).decode()


def _add_annotations(inputs: SpecInputs, spec: Json) -> None:
    if inputs.annotations:
        cast(Json, spec.setdefault("annotations", {})).update(inputs.annotations)


def _linux(spec: Json) -> Json:
    return cast(Json, spec["linux"])


_CONTRIBUTORS: tuple[Callable[[SpecInputs, Json], None], ...] = (
    _add_process,
    _add_root,
    _add_names,
    _add_mounts,
    _add_namespaces,
    _add_resources,
    _add_devices,
    _add_hidden_paths,
    _add_sysctls,
    _add_seccomp,
    _add_annotations,
)
