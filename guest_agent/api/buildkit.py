"""/grpc and /session: where BuildKit's clients leave HTTP/1 for HTTP/2, in which gRPC is spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guest_agent.api.contract import Engine
from guest_agent.api.messages import Answer, Duplex, Hijack
from guest_agent.api.router import Call, Route
from guest_agent.wire.errors import InvalidArgument

if TYPE_CHECKING:
    from guest_agent.buildkit.services import BuildKit

_PROTOCOL = "h2c"
_SESSION_ID = "x-docker-expose-session-uuid"


class BuildKitResource:
    """h2 and all that stands on it is imported by the first client: 40 ms that nobody else has to wait for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._service: BuildKit | None = None

    def routes(self) -> tuple[Route, ...]:
        return (Route("POST", "/grpc", self.grpc), Route("POST", "/session", self.session))

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


def _check_upgrade(call: Call) -> None:
    """In moby's words."""
    wanted = call.request.headers.get("upgrade", "")
    if not wanted:
        raise InvalidArgument("no upgrade proto in request")
    if wanted != _PROTOCOL:
        raise InvalidArgument(f"protocol {wanted} not supported")
