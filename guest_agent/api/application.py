"""All resources behind one router."""

from __future__ import annotations

from dataclasses import replace

from guest_agent.api.archives import ArchivesResource
from guest_agent.api.build import BuildResource
from guest_agent.api.container_streams import ContainerStreamsResource
from guest_agent.api.containers import ContainersResource
from guest_agent.api.contract import Engine, SystemVersion
from guest_agent.api.disk_usage import DiskUsageResource
from guest_agent.api.events import EventsResource
from guest_agent.api.execs import ExecsResource
from guest_agent.api.images import ImagesResource
from guest_agent.api.manifests import ManifestsResource
from guest_agent.api.messages import Answer, Headers, Request, Response
from guest_agent.api.networks import NetworksResource
from guest_agent.api.plugins import PluginsResource
from guest_agent.api.router import Route, Router
from guest_agent.api.session import SessionResource
from guest_agent.api.stats import StatsResource
from guest_agent.api.swarm import SwarmResource
from guest_agent.api.system import SystemResource
from guest_agent.api.volumes import VolumesResource
from guest_agent.api.websocket import WebSocketResource

_RESOURCES = (
    SystemResource,
    DiskUsageResource,
    ContainersResource,
    ContainerStreamsResource,
    ArchivesResource,
    StatsResource,
    ExecsResource,
    ImagesResource,
    ManifestsResource,
    BuildResource,
    VolumesResource,
    NetworksResource,
    EventsResource,
    SessionResource,
    WebSocketResource,
    SwarmResource,
    PluginsResource,
)


def routes(engine: Engine) -> tuple[Route, ...]:
    return tuple(route for resource in _RESOURCES for route in resource(engine).routes())


class EngineApplication:
    """What the HTTP server calls for each request; every answer says who speaks, as dockerd's do."""

    def __init__(self, engine: Engine) -> None:
        self._router = Router(routes(engine))
        self._common = _common_headers(engine.system.version())

    async def __call__(self, request: Request) -> Answer:
        answer = await self._router(request)
        return replace(answer, headers=self._common + answer.headers)

    def at_once(self, request: Request) -> Response | None:
        answer = self._router.at_once(request)
        return answer and replace(answer, headers=self._common + answer.headers)


def _common_headers(version: SystemVersion) -> Headers:
    return (
        ("Api-Version", version.api_version),
        ("Docker-Experimental", "false"),
        ("Ostype", "linux"),
        ("Server", f"hostvm/{version.version} (linux)"),
    )
