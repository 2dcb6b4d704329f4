"""/_ping, /version, /info, /auth and our own /hostvm/shutdown."""

from __future__ import annotations

import asyncio

from guest_agent.api.contract import Engine, SystemInfo, SystemVersion
from guest_agent.api.fields import read_fields
from guest_agent.api.messages import Answer, Response, json_response, no_content
from guest_agent.api.render_config import Json
from guest_agent.api.router import Call, Route
from guest_agent.engine.host_settings import RUNTIMES
from guest_agent.wire.models import Credentials
from guest_agent.wire.times import rfc3339

_PING_HEADERS = (
    ("Builder-Version", "1"),
    ("Cache-Control", "no-cache, no-store, must-revalidate"),
    ("Pragma", "no-cache"),
    ("Swarm", "inactive"),
)


class SystemResource:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ending: asyncio.Task[None] | None = None

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/_ping", self.ping, at_once=self.ping_at_once),
            Route("HEAD", "/_ping", self.ping),
            Route("GET", "/version", self.version, at_once=self.version_at_once),
            Route("GET", "/info", self.info),
            Route("POST", "/auth", self.auth),
            Route("POST", "/hostvm/shutdown", self.shutdown, durable=True),
        )

    async def ping(self, call: Call) -> Answer:
        return self.ping_at_once(call)

    def ping_at_once(self, call: Call) -> Response:
        return Response(200, b"OK", "text/plain; charset=utf-8", _PING_HEADERS)

    async def version(self, call: Call) -> Answer:
        return self.version_at_once(call)

    def version_at_once(self, call: Call) -> Response:
        return json_response(render_version(self._engine.system.version()))

    async def info(self, call: Call) -> Answer:
        info = self._engine.system.info()
        return json_response({**render_info(info), **(_of_1_24(info) if call.version < (1, 25) else {})})

    async def auth(self, call: Call) -> Answer:
        body = read_fields(await call.request.json())
        credentials = Credentials(body.text("username"), body.text("password"), body.text("identitytoken"))
        token = await self._engine.images.authenticate(body.text("serveraddress"), credentials)
        return json_response({"Status": "Login Succeeded", "IdentityToken": token})

    async def shutdown(self, call: Call) -> Answer:
        """204 first: the engine's end is also the end of this connection."""
        keep = read_fields(await call.request.json()).flag("keep_containers", True)

        def begin() -> None:
            self._ending = asyncio.ensure_future(self._engine.shutdown(keep))

        answer = no_content()
        return Response(answer.status, afterwards=begin)


def render_version(version: SystemVersion) -> Json:
    components: list[Json] = [
        {"Name": name, "Version": number, "Details": dict(details)} for name, number, details in version.components
    ]
    return {
        "Platform": {"Name": "hostvm"},
        "Components": [_engine_component(version), *(item for item in components if item["Name"] != "Engine")],
        "Version": version.version,
        "ApiVersion": version.api_version,
        "MinAPIVersion": version.min_api_version,
        "GitCommit": version.git_commit,
        "GoVersion": "",
        "Os": version.os,
        "Arch": version.arch,
        "KernelVersion": version.kernel_version,
        "BuildTime": version.build_time,
    }


def _engine_component(version: SystemVersion) -> Json:
    details = {
        "ApiVersion": version.api_version,
        "Arch": version.arch,
        "BuildTime": version.build_time,
        "Experimental": "false",
        "GitCommit": version.git_commit,
        "GoVersion": "",
        "KernelVersion": version.kernel_version,
        "MinAPIVersion": version.min_api_version,
        "Os": version.os,
    }
    return {"Name": "Engine", "Version": version.version, "Details": details}


#: What a dockerd outside a swarm, without plugins and with every kernel feature says.
_INFO_DEFAULTS: Json = {
    "Plugins": {
        "Volume": ["local"],
        "Network": ["bridge", "host", "ipvlan", "macvlan", "null"],
        "Authorization": None,
        "Log": ["journald", "json-file", "local", "syslog"],
    },
    "MemoryLimit": True,
    "SwapLimit": True,
    "CpuCfsPeriod": True,
    "CpuCfsQuota": True,
    "CPUShares": True,
    "CPUSet": True,
    "PidsLimit": True,
    "IPv4Forwarding": True,
    "NFd": 0,
    "NGoroutines": 0,
    "NEventsListener": 0,
    "OSType": "linux",
    "IndexServerAddress": "https://index.docker.io/v1/",
    "GenericResources": None,
    "HttpProxy": "",
    "HttpsProxy": "",
    "NoProxy": "",
    "Labels": [],
    "ExperimentalBuild": False,
    "Swarm": {
        "NodeID": "",
        "NodeAddr": "",
        "LocalNodeState": "inactive",
        "ControlAvailable": False,
        "Error": "",
        "RemoteManagers": None,
    },
    "LiveRestoreEnabled": True,
    "Isolation": "",
    "ProductLicense": "",
    "DefaultAddressPools": None,
    "CDISpecDirs": [],
}


#: What start-up makes sure of, in the words of docker's overlay2.
_DRIVER_STATUS = [
    ["Supports d_type", "true"],
    ["Using metacopy", "false"],
    ["Native Overlay Diff", "true"],
    ["userxattr", "false"],
]


def render_info(info: SystemInfo) -> Json:
    return {
        "ID": info.id,
        "Containers": info.containers,
        "ContainersRunning": info.running,
        "ContainersPaused": info.paused,
        "ContainersStopped": info.stopped,
        "Images": info.images,
        "Driver": info.storage_driver,
        "DriverStatus": [["Backing Filesystem", info.backing_filesystem], *_DRIVER_STATUS],
        **_INFO_DEFAULTS,
        "BridgeNfIptables": info.bridge_filters[0],
        "BridgeNfIp6tables": info.bridge_filters[1],
        "InitBinary": info.init_binary,
        "OomKillDisable": info.cgroup_version == "1",  # the unified hierarchy has no such switch
        "LoggingDriver": info.logging_driver,
        "Debug": info.debug,
        "SystemTime": rfc3339(info.system_time_ns),
        "CgroupDriver": info.cgroup_driver,
        "CgroupVersion": info.cgroup_version,
        "KernelVersion": info.kernel_version,
        "OperatingSystem": info.operating_system,
        "OSVersion": info.os_version,
        "Architecture": info.architecture,
        "RegistryConfig": _registries(info),
        "NCPU": info.cpus,
        "MemTotal": info.memory_total,
        "DockerRootDir": info.data_root,
        "Name": info.name,
        "ServerVersion": info.server_version,
        "Runtimes": {name: {"path": info.runtime} for name in sorted({info.runtime, *RUNTIMES})},
        "DefaultRuntime": info.runtime,
        "ContainerdCommit": {"ID": "", "Expected": ""},
        "RuncCommit": {"ID": "", "Expected": ""},
        "InitCommit": {"ID": "", "Expected": ""},
        "SecurityOptions": list(info.security_options),
        "Warnings": list(info.warnings) or None,
    }


def _of_1_24(info: SystemInfo) -> Json:
    """What clients before 1.25 find otherwise: `name=seccomp,profile=builtin` was its name alone."""
    names = [option.partition(",")[0].removeprefix("name=") for option in info.security_options]
    return {"ExecutionDriver": "<not supported>", "SecurityOptions": names}


def _registries(info: SystemInfo) -> Json:
    index: Json = {"Name": "docker.io", "Mirrors": list(info.registry_mirrors), "Secure": True, "Official": True}
    insecure: dict[str, Json] = {
        name: {"Name": name, "Mirrors": [], "Secure": False, "Official": False}
        for name in info.insecure_registries
        if "/" not in name
    }
    return {
        "AllowNondistributableArtifactsCIDRs": None,
        "AllowNondistributableArtifactsHostnames": None,
        "InsecureRegistryCIDRs": ["127.0.0.0/8", *(name for name in info.insecure_registries if "/" in name)],
        "IndexConfigs": {"docker.io": index, **insecure},
        "Mirrors": list(info.registry_mirrors) or None,
    }
