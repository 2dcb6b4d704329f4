"""Pure: `ContainerConfig` and `HostConfig` to Docker's JSON, with every field that dockerd's inspect has."""

from __future__ import annotations

from guest_agent.api.render_mounts import render_mount_request
from guest_agent.wire.models import MASKED_PATHS, READONLY_PATHS, ContainerConfig, Healthcheck, HostConfig, PortBinding
from guest_agent.wire.resources import BlockLimit, Device, DeviceRequest, Resources, Ulimit

Json = dict[str, object]

#: Fields of Docker's HostConfig that mean nothing here and show their default.
_HOST_DEFAULTS: Json = {"Cgroup": ""}


def _words(words: tuple[str, ...] | None) -> list[str] | None:
    return None if words is None else list(words)


def _or_null(words: tuple[str, ...]) -> list[str] | None:
    return list(words) or None


def _flags(names: tuple[str, ...] | tuple[object, ...]) -> Json | None:
    """Go's set: {"80/tcp": {}}; None when empty."""
    return {str(name): {} for name in names} or None


def render_config(config: ContainerConfig) -> Json:
    """Docker's `Config`; what has `omitempty` there is left out here."""
    rendered: Json = {
        "Hostname": config.hostname,
        "Domainname": config.domainname,
        "User": config.user,
        "AttachStdin": config.attach_stdin,
        "AttachStdout": config.attach_stdout,
        "AttachStderr": config.attach_stderr,
        "Tty": config.tty,
        "OpenStdin": config.open_stdin,
        "StdinOnce": config.stdin_once,
        "Env": list(config.environment),
        "Cmd": _words(config.command),
        "Image": config.image,
        "Volumes": _flags(config.volumes),
        "WorkingDir": config.working_dir,
        "Entrypoint": _words(config.entrypoint),
        "OnBuild": _or_null(config.on_build),
        "Labels": dict(config.labels),
    }
    rendered.update(_optional_config(config))
    return rendered


def _optional_config(config: ContainerConfig) -> Json:
    optional: Json = {
        "ExposedPorts": _flags(config.exposed_ports),
        "ArgsEscaped": config.args_escaped,
        "NetworkDisabled": config.network_disabled,
        "StopSignal": config.stop_signal,
        "Shell": _or_null(config.shell),
        "Healthcheck": config.healthcheck and _healthcheck(config.healthcheck),
    }
    if config.stop_timeout is not None:
        optional["StopTimeout"] = config.stop_timeout
    return {key: value for key, value in optional.items() if value or key == "StopTimeout"}


def _healthcheck(check: Healthcheck) -> Json:
    rendered: Json = {
        "Test": list(check.test),
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
        "Retries": check.retries,
    }
    return {key: value for key, value in rendered.items() if value}


def render_host_config(host: HostConfig, runtime: str) -> Json:
    """Docker's `HostConfig`; `runtime` is the name of the OCI runtime in use."""
    rendered = dict(_HOST_DEFAULTS)
    rendered.update(_namespaces(host))
    rendered.update(_limits(host.resources))
    rendered.update(_mounts(host))
    rendered.update(
        {
            "LogConfig": {"Type": host.log_driver, "Config": dict(host.log_options)},
            "PortBindings": port_bindings(host.port_bindings),
            "RestartPolicy": {
                "Name": str(host.restart_policy.condition),
                "MaximumRetryCount": host.restart_policy.maximum_retry_count,
            },
            "AutoRemove": host.auto_remove,
            "ConsoleSize": list(host.console_size),
            "Dns": _words(host.dns),
            "DnsOptions": _words(host.dns_options),
            "DnsSearch": _words(host.dns_search),
            "ExtraHosts": _or_null(host.extra_hosts),
            "PublishAllPorts": host.publish_all_ports,
            "Runtime": host.runtime or runtime,
            "ContainerIDFile": host.container_id_file,
            "Isolation": host.isolation,
        }
    )
    optional = {"StorageOpt": host.storage_opt, "Annotations": host.annotations, "Sysctls": host.sysctls}
    rendered |= {name: dict(values) for name, values in optional.items() if values}
    if host.init is not None:
        rendered["Init"] = host.init
    return rendered


def _namespaces(host: HostConfig) -> Json:
    """Isolation and rights."""
    return {
        "NetworkMode": host.network_mode,
        "CgroupParent": host.cgroup_parent,
        "CapAdd": _or_null(host.cap_add),
        "CapDrop": _or_null(host.cap_drop),
        "CgroupnsMode": host.cgroupns_mode or "private",
        "GroupAdd": _or_null(host.group_add),
        "IpcMode": host.ipc_mode or "private",
        "OomScoreAdj": host.oom_score_adj,
        "PidMode": host.pid_mode,
        "Privileged": host.privileged,
        "ReadonlyRootfs": host.read_only_rootfs,
        "SecurityOpt": _or_null(host.security_opt),
        "UTSMode": host.uts_mode,
        "UsernsMode": host.userns_mode,
        "ShmSize": host.shm_size,
        "MaskedPaths": _paths(host.masked_paths, MASKED_PATHS, host.privileged),
        "ReadonlyPaths": _paths(host.readonly_paths, READONLY_PATHS, host.privileged),
    }


def _paths(wanted: tuple[str, ...] | None, default: tuple[str, ...], privileged: bool) -> list[str] | None:
    if wanted is not None:
        return list(wanted)
    return None if privileged else list(default)


def _limits(resources: Resources) -> Json:
    return {
        "CpuShares": resources.cpu_shares,
        "Memory": resources.memory,
        "NanoCpus": resources.nano_cpus,
        "BlkioWeight": resources.blkio_weight,
        "CpuPeriod": resources.cpu_period,
        "CpuQuota": resources.cpu_quota,
        "CpusetCpus": resources.cpuset_cpus,
        "CpusetMems": resources.cpuset_mems,
        "Devices": [_device(device) for device in resources.devices],
        "MemoryReservation": resources.memory_reservation,
        "MemorySwap": resources.memory_swap,
        "MemorySwappiness": None if resources.memory_swappiness < 0 else resources.memory_swappiness,
        "OomKillDisable": resources.oom_kill_disable,
        "PidsLimit": max(0, resources.pids_limit) if resources.pids_limit else None,
        "Ulimits": [_ulimit(limit) for limit in resources.ulimits],
        "BlkioWeightDevice": _block_limits(resources.blkio_weight_device, "Weight"),
        "BlkioDeviceReadBps": _block_limits(resources.blkio_read_bps),
        "BlkioDeviceWriteBps": _block_limits(resources.blkio_write_bps),
        "BlkioDeviceReadIOps": _block_limits(resources.blkio_read_iops),
        "BlkioDeviceWriteIOps": _block_limits(resources.blkio_write_iops),
        "CpuRealtimePeriod": resources.cpu_rt_period,
        "CpuRealtimeRuntime": resources.cpu_rt_runtime,
        "DeviceCgroupRules": _or_null(resources.device_rules),
        "DeviceRequests": [_device_request(request) for request in resources.device_requests] or None,
        "CpuCount": resources.cpu_count,
        "CpuPercent": resources.cpu_percent,
        "IOMaximumIOps": resources.io_maximum_iops,
        "IOMaximumBandwidth": resources.io_maximum_bandwidth,
    }


def _block_limits(limits: tuple[BlockLimit, ...], name: str = "Rate") -> list[Json]:
    return [{"Path": limit.path, name: limit.value} for limit in limits]


def _device_request(request: DeviceRequest) -> Json:
    return {
        "Driver": request.driver,
        "Count": request.count,
        "DeviceIDs": _or_null(request.device_ids),
        "Capabilities": [list(group) for group in request.capabilities],
        "Options": dict(request.options),
    }


def _device(device: Device) -> Json:
    return {
        "PathOnHost": device.host_path,
        "PathInContainer": device.container_path,
        "CgroupPermissions": device.permissions,
    }


def _ulimit(limit: Ulimit) -> Json:
    return {"Name": limit.name, "Hard": limit.hard, "Soft": limit.soft}


def port_bindings(bindings: tuple[PortBinding, ...]) -> Json:
    """{"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}; an open port is "", a range "8000-8010"."""
    rendered: dict[str, list[Json]] = {}
    for binding in bindings:
        entry: Json = {"HostIp": binding.host_ip, "HostPort": _host_port(binding)}
        rendered.setdefault(str(binding.container_port), []).append(entry)
    return dict(rendered)


def _host_port(binding: PortBinding) -> str:
    if binding.host_port_end > binding.host_port:
        return f"{binding.host_port}-{binding.host_port_end}{binding.protocol_said}"
    return f"{binding.host_port}{binding.protocol_said}" if binding.host_port else ""


def _mounts(host: HostConfig) -> Json:
    """What came as `-v` (Binds), as `--tmpfs` (Tmpfs) and as `--mount` (Mounts)."""
    rendered: Json = {
        "Binds": _or_null(host.binds),
        "VolumesFrom": _or_null(host.volumes_from),
        "VolumeDriver": host.volume_driver,
    }
    if host.tmpfs:
        rendered["Tmpfs"] = dict(host.tmpfs)
    mounts = [render_mount_request(mount) for mount in host.mounts if not mount.bind_string]
    if mounts:
        rendered["Mounts"] = mounts
    return rendered
