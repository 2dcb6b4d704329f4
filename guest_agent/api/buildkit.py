"""/grpc and /session: where BuildKit's clients leave HTTP/1 for HTTP/2, in which gRPC is spoken.

And those of its builds that stay in HTTP/1: /build?version=2, and /build/cancel.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from guest_agent.api.contract import Engine
from guest_agent.api.fields import Fields
from guest_agent.api.json_bodies import parse_json
from guest_agent.api.messages import TYPE_JSON, Answer, Duplex, Hijack, Response
from guest_agent.api.query import Query
from guest_agent.api.router import Call, Route
from guest_agent.engine.build_requests import BuildRequest
from guest_agent.wire.errors import Internal, InvalidArgument

if TYPE_CHECKING:
    from guest_agent.buildkit.by_http import HttpBuilds
    from guest_agent.buildkit.messages import Exporter
    from guest_agent.buildkit.services import BuildKit

_PROTOCOL = "h2c"
_SESSION_ID = "x-docker-expose-session-uuid"


class BuildKitResource:
    """h2 and all that stands on it is imported by the first client: 40 ms that nobody else has to wait for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._service: BuildKit | None = None
        self._http_builds: HttpBuilds | None = None

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("POST", "/grpc", self.grpc),
            Route("POST", "/session", self.session),
            Route("POST", "/build/cancel", self.cancel),
        )

    def build(self, call: Call, request: BuildRequest) -> AsyncGenerator[dict[str, object], None]:
        """docker's progress objects. Raises HostvmError, also while they come."""
        from guest_agent.buildkit.by_http import HttpBuild

        wanted = HttpBuild(request, call.query.text("session"), call.query.text("buildid"), parse_outputs(call.query))
        return self._open_http_builds().build(wanted, call.request.body)

    async def cancel(self, call: Call) -> Answer:
        """Of the classic builder's none has an id: it ends with its connection."""
        identity = call.query.text("id")
        if not identity:
            raise Internal("build ID not provided")
        if self._http_builds is not None:
            self._http_builds.cancel(identity)
        return Response(content_type=TYPE_JSON)

    async def grpc(self, call: Call) -> Answer:
        from guest_agent.rpc.peer import Peer

        _check_upgrade(call)
        handlers = self._open().handlers()

        async def serve(duplex: Duplex) -> None:
            await Peer(duplex, client=False, handlers=handlers).run()

        return Hijack(serve, protocol=_PROTOCOL)

    async def session(self, call: Call) -> Answer:
        from guest_agent.buildkit.sessions import ClientSession
        from guest_agent.rpc.peer import Peer

        _check_upgrade(call)
        identity = call.request.headers.get(_SESSION_ID, "")
        if not identity:
            raise InvalidArgument("a session needs an ID")
        sessions = self._open().sessions

        async def serve(duplex: Duplex) -> None:
            peer = Peer(duplex, client=True)
            with sessions.connected(identity, ClientSession(peer)):
                await peer.run()

        return Hijack(serve, protocol=_PROTOCOL)

    def _open(self) -> BuildKit:
        from guest_agent.buildkit.services import BuildKit, describe_worker

        if self._service is None:
            info = self._engine.system.info()
            ranges = self._engine.networks.find("bridge").network.ranges
            gateway = ranges[0].gateway if ranges else ""
            worker = describe_worker(info.id, self._engine.system.version().arch, gateway)
            self._service = BuildKit(self._engine.builds, worker)
        return self._service

    def _open_http_builds(self) -> HttpBuilds:
        from guest_agent.buildkit.by_http import HttpBuilds

        if self._http_builds is None:
            self._http_builds = HttpBuilds(self._open())
        return self._http_builds


def parse_outputs(query: Query) -> tuple[Exporter, ...]:
    """`[{"Type": "tar", "Attrs": {}}]`. Raises InvalidArgument."""
    from guest_agent.buildkit.messages import Exporter

    text = query.text("outputs")
    outputs = Fields({"outputs": parse_json(text.encode("utf-8", "surrogateescape"))}).parts("outputs")
    return tuple(Exporter(one.text("Type"), one.text_map("Attrs")) for one in outputs)


def _check_upgrade(call: Call) -> None:
    """In moby's words."""
    wanted = call.request.headers.get("upgrade", "")
    if not wanted:
        raise InvalidArgument("no upgrade proto in request")
    if wanted != _PROTOCOL:
        raise InvalidArgument(f"protocol {wanted} not supported")
