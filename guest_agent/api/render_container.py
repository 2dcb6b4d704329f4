"""Pure: a container's record to Docker's JSON, as `inspect` and as a line of `ps`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from guest_agent.api.render_config import Json, render_config, render_host_config
from guest_agent.api.render_endpoints import (
    find_default,
    network_of,
    render_addresses,
    render_links,
    render_networks,
)
from guest_agent.api.render_mounts import render_mount
from guest_agent.api.times import human_duration
from guest_agent.engine.container import Container, Health, HealthStatus, State, Status
from guest_agent.engine.requests import Sizes
from guest_agent.wire.models import PublishedPort
from guest_agent.wire.times import SECOND, rfc3339

_WITH_PROCESS = (Status.RUNNING, Status.PAUSED, Status.RESTARTING)


def status_text(state: State, now_ns: int) -> str:
    """ "Up 2 minutes (Paused)", "Exited (0) 3 seconds ago": moby's `State.String`."""
    if state.status is Status.RESTARTING:
        return f"Restarting ({state.exit_code}) {human_duration(now_ns - state.finished_ns)} ago"
    if state.status in (Status.RUNNING, Status.PAUSED):
        up = f"Up {human_duration(now_ns - state.started_ns)}"
        return f"{up} (Paused)" if state.status is Status.PAUSED else up + _health_text(state.health)
    if state.status is Status.REMOVING:
        return "Removal In Progress"
    if state.status is Status.DEAD:
        return "Dead"
    if not state.started_ns and state.status is Status.CREATED:
        return "Created"
    if not state.finished_ns:
        return ""
    return f"Exited ({state.exit_code}) {human_duration(now_ns - state.finished_ns)} ago"


def _health_text(health: Health | None) -> str:
    if health is None:
        return ""
    return " (health: starting)" if health.status is HealthStatus.STARTING else f" ({health.status})"


def render_state(state: State) -> Json:
    running = state.status in _WITH_PROCESS
    health = {} if state.health is None else {"Health": render_health(state.health)}
    return {
        "Status": str(state.status),
        "Running": running,
        "Paused": state.status is Status.PAUSED,
        "Restarting": state.status is Status.RESTARTING,
        "OOMKilled": state.oom_killed,
        "Dead": state.status is Status.DEAD,
        "Pid": state.pid if running else 0,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": rfc3339(state.started_ns),
        "FinishedAt": rfc3339(state.finished_ns),
        **health,
    }


def render_health(health: Health) -> Json:
    return {
        "Status": str(health.status),
        "FailingStreak": health.failing_streak,
        "Log": [
            {
                "Start": rfc3339(result.start_ns),
                "End": rfc3339(result.end_ns),
                "ExitCode": result.exit_code,
                "Output": result.output,
            }
            for result in health.log
        ],
    }


def render_inspect(
    container: Container, runtime: str, driver: str, exec_ids: tuple[str, ...], sizes: Sizes | None = None
) -> Json:
    """`GET /containers/{id}/json`."""
    rendered: Json = {
        "Id": container.id,
        "Created": rfc3339(container.created_ns),
        "Path": container.path,
        "Args": list(container.args),
        "State": render_state(container.state),
        "Image": container.image_id,
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": "",
        "Name": f"/{container.name}",
        "RestartCount": container.state.restart_count,
        "Driver": driver,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": list(exec_ids) or None,
        "HostConfig": render_host_config(container.host_config, runtime) | {"Links": render_links(container)},
        "GraphDriver": {"Data": None, "Name": driver},
    }
    if sizes is not None:
        rendered |= {"SizeRw": sizes.read_write, "SizeRootFs": sizes.root_fs}
    rendered["Mounts"] = [render_mount(mount) for mount in container.mount_points]
    rendered["Config"] = {**render_config(container.config), **_wanted_mac(container)}
    rendered["NetworkSettings"] = network_settings(container)
    return rendered


def network_settings(container: Container) -> Json:
    """The addresses at the top are those of the default bridge, and empty without one."""
    return {
        "Bridge": "",
        "SandboxID": container.id if container.running else "",
        "SandboxKey": f"/proc/{container.state.pid}/ns/net" if container.running else "",
        "Ports": _port_map(container),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **render_addresses(find_default(container)),
        "Networks": render_networks(container),
    }


def _port_map(container: Container) -> Json:
    """{"80/tcp": [{"HostIp", "HostPort"}] or null}; empty unless it runs."""
    if not container.running:
        return {}
    ports: dict[str, list[Json] | None] = {str(port): None for port in container.config.exposed_ports}
    for published in container.ports:
        entry: Json = {"HostIp": published.host_ip, "HostPort": str(published.host_port)}
        key = str(published.container_port)
        ports[key] = (ports.get(key) or []) + [entry]
    return dict(ports)


# -- a line of `ps`


def list_ports(container: Container) -> list[Json]:
    if not container.running:
        return []
    published = {port.container_port for port in container.ports}
    exposed: list[Json] = [
        {"PrivatePort": port.number, "Type": str(port.protocol)}
        for port in container.config.exposed_ports
        if port not in published
    ]
    return exposed + [_published(port) for port in container.ports]


def _published(port: PublishedPort) -> Json:
    return {
        "IP": port.host_ip,
        "PrivatePort": port.container_port.number,
        "PublicPort": port.host_port,
        "Type": str(port.container_port.protocol),
    }


def command_text(path: str, args: Iterable[str]) -> str:
    return " ".join([path, *(f"'{word}'" if " " in word else word for word in args)])


def render_listed(
    container: Container, image: str, now_ns: int, link_names: Sequence[str] = (), sizes: Sizes | None = None
) -> Json:
    """One entry of `GET /containers/json`. `image` is the name as given, or the id where the name has moved on."""
    rendered = render_row(container, image, now_ns, link_names)
    if sizes is not None:
        rendered |= {"SizeRw": sizes.read_write, "SizeRootFs": sizes.root_fs}
    return rendered | {
        "Labels": dict(container.config.labels),
        "HostConfig": {"NetworkMode": container.host_config.network_mode},
        "NetworkSettings": {"Networks": render_networks(container)},
        "Mounts": [render_mount(mount) for mount in container.mount_points],
    }


def render_row(container: Container, image: str, now_ns: int, link_names: Sequence[str] = ()) -> Json:
    """Of that entry, what a table of `ps` shows."""
    return {
        "Id": container.id,
        "Names": [f"/{container.name}", *link_names],
        "Image": image,
        "ImageID": container.image_id,
        "Command": command_text(container.path, container.args),
        "Created": container.created_ns // SECOND,
        "Ports": list_ports(container),
        "State": str(container.state.status),
        "Status": status_text(container.state, now_ns),
    }


def shown_image(container: Container, current: Mapping[str, str]) -> str:
    """The image's name, unless `current` (name -> image id) says that it means another image by now."""
    if current.get(container.image_name) == container.image_id:
        return container.image_name
    return container.image_id


def _wanted_mac(container: Container) -> Json:
    """`Config.MacAddress`, the way before API 1.44: what was asked for in the network of the mode."""
    mode = network_of(container.host_config.network_mode)
    places = (one.mac_address for one in container.networks if one.network == mode)
    wanted = container.config.mac_address or next(places, "")
    return {"MacAddress": wanted} if wanted else {}
