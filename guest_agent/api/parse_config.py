"""Docker's JSON of a create to `CreateRequest`. The one place that does it: create, our own `run` and commit share it.

What needs only the request is checked here, in dockerd's words; what needs images, names or the host is the engine's.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re

from guest_agent.api.fields import Fields
from guest_agent.api.parse_mounts import parse_binds, parse_mounts, parse_tmpfs, refuse_duplicates
from guest_agent.api.parse_networks import parse_endpoints, parse_mac
from guest_agent.api.parse_resources import parse_resources
from guest_agent.engine.requests import CreateRequest, UpdateRequest
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import (
    ContainerConfig,
    ContainerPort,
    Healthcheck,
    HostConfig,
    PortBinding,
    Protocol,
    RestartCondition,
    RestartPolicy,
)
from guest_agent.wire.resources import LIFTED

_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/([a-zA-Z]+))?")
_HOST_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def parse_create(name: str, body: Fields, platform: str = "") -> CreateRequest:
    """`POST /containers/create`: the config with `HostConfig` and `NetworkingConfig` in it."""
    if body.raw("Image") is None and body.raw("Cmd") is None and body.raw("HostConfig") is None:
        raise InvalidArgument("config cannot be empty in order to create a container")
    # Without a HostConfig, dockerd reads what would be in it beside it, as its first clients said it.
    host = parse_host_config(body if body.raw("HostConfig") is None else body.part("HostConfig"))
    return CreateRequest(name, parse_config(body), host, platform, parse_endpoints(body, host.network_mode))


def parse_config(body: Fields) -> ContainerConfig:
    return ContainerConfig(
        image=body.text("Image"),
        command=body.words("Cmd"),
        entrypoint=body.words("Entrypoint"),
        environment=_environment(body),
        working_dir=_working_dir(body.text("WorkingDir")),
        user=body.text("User"),
        hostname=body.text("Hostname"),
        domainname=body.text("Domainname"),
        tty=body.flag("Tty"),
        open_stdin=body.flag("OpenStdin"),
        stdin_once=body.flag("StdinOnce"),
        attach_stdin=body.flag("AttachStdin"),
        attach_stdout=body.flag("AttachStdout"),
        attach_stderr=body.flag("AttachStderr"),
        labels=body.text_map("Labels"),
        exposed_ports=tuple(port for text in body.keys("ExposedPorts") for port in parse_ports(text)),
        volumes=body.keys("Volumes"),
        stop_signal=body.text("StopSignal"),
        stop_timeout=body.integer("StopTimeout") if "StopTimeout" in body else None,
        healthcheck=_healthcheck(body.part("Healthcheck")) if "Healthcheck" in body else None,
        shell=body.words("Shell") or (),
        on_build=body.texts("OnBuild") or (),
        network_disabled=body.flag("NetworkDisabled"),
        args_escaped=body.flag("ArgsEscaped"),
        mac_address=parse_mac(body.text("MacAddress")),
    )


def _environment(body: Fields) -> tuple[str, ...]:
    variables = body.texts("Env") or ()
    for variable in variables:
        if not variable.partition("=")[0] or "\0" in variable:
            raise InvalidArgument(f"invalid environment variable: {variable}")
    return variables


def _working_dir(path: str) -> str:
    if path and not path.startswith("/"):
        raise InvalidArgument(f"the working directory '{path}' is invalid, it needs to be an absolute path")
    return posixpath.normpath(path).replace("//", "/") if path else ""


def _healthcheck(body: Fields) -> Healthcheck:
    check = Healthcheck(
        test=body.texts("Test") or (),
        interval=body.integer("Interval"),
        timeout=body.integer("Timeout"),
        start_period=body.integer("StartPeriod"),
        retries=body.integer("Retries"),
        start_interval=body.integer("StartInterval"),
    )
    for name, value in (("Interval", check.interval), ("Timeout", check.timeout)):
        _check_health_time(name, value)
    if check.retries < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")
    for name, value in (("StartPeriod", check.start_period), ("StartInterval", check.start_interval)):
        _check_health_time(name, value)
    return check


def _check_health_time(name: str, value: int) -> None:
    if value != 0 and value < 1_000_000:
        raise InvalidArgument(f"{name} in Healthcheck cannot be less than 1ms")


def parse_host_config(body: Fields) -> HostConfig:
    binds, driver, tmpfs = body.texts("Binds") or (), body.text("VolumeDriver"), parse_tmpfs(body)
    mounts = parse_binds(binds, driver) + parse_mounts(body)
    refuse_duplicates(mounts, tmpfs)
    policy = parse_restart_policy(body.part("RestartPolicy"))
    auto_remove = body.flag("AutoRemove")
    if auto_remove and policy.condition is not RestartCondition.NO:
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
    return HostConfig(
        mounts=mounts,
        binds=binds,
        tmpfs=tmpfs,
        volumes_from=body.texts("VolumesFrom") or (),
        volume_driver=driver,
        port_bindings=_port_bindings(body.part("PortBindings"), body.keys("PortBindings")),
        publish_all_ports=body.flag("PublishAllPorts"),
        network_mode=body.text("NetworkMode") or "default",
        resources=parse_resources(body),
        restart_policy=policy,
        auto_remove=auto_remove,
        privileged=body.flag("Privileged"),
        cap_add=body.words("CapAdd") or (),
        cap_drop=body.words("CapDrop") or (),
        read_only_rootfs=body.flag("ReadonlyRootfs"),
        init=body.flag("Init") if "Init" in body else None,
        extra_hosts=_extra_hosts(body),
        links=body.texts("Links") or (),
        dns=body.texts("Dns"),
        dns_options=body.texts("DnsOptions"),
        dns_search=body.texts("DnsSearch"),
        group_add=body.texts("GroupAdd") or (),
        security_opt=body.texts("SecurityOpt") or (),
        shm_size=_shm_size(body.integer("ShmSize")),
        sysctls=body.text_map("Sysctls"),
        pid_mode=body.text("PidMode"),
        ipc_mode=body.text("IpcMode"),
        uts_mode=body.text("UTSMode"),
        cgroupns_mode=body.text("CgroupnsMode"),
        userns_mode=body.text("UsernsMode"),
        oom_score_adj=_oom_score(body.integer("OomScoreAdj")),
        log_driver=body.part("LogConfig").text("Type"),
        log_options=body.part("LogConfig").text_map("Config"),
        console_size=body.size("ConsoleSize"),
        masked_paths=body.texts("MaskedPaths"),
        readonly_paths=body.texts("ReadonlyPaths"),
        cgroup_parent=body.text("CgroupParent"),
        runtime=body.text("Runtime"),
        isolation=_isolation(body.text("Isolation")),
        storage_opt=body.text_map("StorageOpt"),
        annotations=_annotations(body.text_map("Annotations")),
        container_id_file=body.text("ContainerIDFile"),
    )


def _annotations(annotations: dict[str, str]) -> dict[str, str]:
    if "" in annotations:
        raise InvalidArgument("invalid Annotations: the empty string is not permitted as an annotation key")
    return annotations


def _isolation(kind: str) -> str:
    if kind not in ("", "default"):
        raise InvalidArgument(f"Invalid isolation: \"{kind}\" - linux only supports 'default'")
    return kind


def parse_update(body: Fields) -> UpdateRequest:
    """`POST /containers/{id}/update`: a Resources with a RestartPolicy in it."""
    resources, policy = parse_resources(body), body.part("RestartPolicy")
    if "PidsLimit" in body and not resources.pids_limit:
        resources = dataclasses.replace(resources, pids_limit=LIFTED)
    return UpdateRequest(resources, parse_restart_policy(policy) if policy.text("Name") else None)


def _shm_size(size: int) -> int:
    if size < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    return size or 64 << 20


def _oom_score(score: int) -> int:
    if not -1000 <= score <= 1000:
        raise InvalidArgument(f"Invalid value {score}, range for oom score adj is [-1000, 1000]")
    return score


def _extra_hosts(body: Fields) -> tuple[str, ...]:
    hosts = body.texts("ExtraHosts") or ()
    for host in hosts:
        name, colon, address = host.partition(":")
        if not (name and colon and address):
            raise InvalidArgument(f'bad format for add-host: "{host}"')
    return hosts


def parse_restart_policy(body: Fields) -> RestartPolicy:
    name, count = body.text("Name") or "no", body.integer("MaximumRetryCount")
    try:
        condition = RestartCondition(name)
    except ValueError:
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'"
        ) from None
    if count < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    if count and condition is not RestartCondition.ON_FAILURE:
        raise InvalidArgument("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    return RestartPolicy(condition, count)


# -- ports


def parse_ports(text: str) -> tuple[ContainerPort, ...]:
    """ "80/tcp", "80", "8000-8010/udp". Raises InvalidArgument."""
    match = _PORT.fullmatch(text)
    protocol = (match[3] or "tcp").lower() if match else ""
    if match is None or protocol not in ("tcp", "udp"):
        raise InvalidArgument(f'invalid port specification: "{text}"')
    first, last = _range(text, match[1], match[2])
    if first == 0:
        raise InvalidArgument(f'invalid port specification: "{text}"')
    return tuple(ContainerPort(number, Protocol(protocol)) for number in range(first, last + 1))


def _range(text: str, first: str, last: str | None) -> tuple[int, int]:
    start, end = int(first), int(last or first)
    if start > end or end > 65535:
        raise InvalidArgument(f'invalid port specification: "{text}"')
    return start, end


def _port_bindings(body: Fields, ports: tuple[str, ...]) -> tuple[PortBinding, ...]:
    found: list[PortBinding] = []
    for text in ports:
        wishes = body.parts(text) or [Fields({})]
        found += [_binding(port, wish) for port in parse_ports(text) for wish in wishes]
    return tuple(found)


def _binding(port: ContainerPort, wish: Fields) -> PortBinding:
    text, slash, protocol = wish.text("HostPort").partition("/")
    if not text:
        return PortBinding(port, wish.text("HostIp"))
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise InvalidArgument(f'invalid port specification: "{text}"')
    first, last = _range(text, match[1], match[2])
    return PortBinding(port, wish.text("HostIp"), first, last if last > first else 0, slash + protocol)
