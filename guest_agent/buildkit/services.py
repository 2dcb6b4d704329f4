"""The methods of BuildKit's daemon that its clients call: Control, and the gateway of a job (LLBBridge)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar

from guest_agent.build.pruning import matches
from guest_agent.buildkit.builds import Builds
from guest_agent.buildkit.cache_usage import parse_filters, plan_request, render_record
from guest_agent.buildkit.jobs import Job, Jobs
from guest_agent.buildkit.messages import (
    BridgeSolveRequest,
    BridgeSolveResponse,
    Capability,
    DiskUsageRequest,
    Empty,
    InfoResponse,
    Platform,
    Pong,
    PruneRequest,
    Ref,
    Result,
    ReturnRequest,
    SolveRequest,
    SolveResponse,
    StatusRequest,
    UsageResponse,
    Version,
    Worker,
    WorkersResponse,
)
from guest_agent.buildkit.references import define, resolve
from guest_agent.buildkit.sessions import Sessions
from guest_agent.rpc.peer import Call, Handler
from guest_agent.rpc.protobuf import ProtobufError, decode, encode
from guest_agent.rpc.status import CallFailed, Code
from guest_agent.wire.errors import InvalidArgument

_CONTROL = "/moby.buildkit.v1.Control"
_BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge"
#: Says which job a call to the gateway belongs to.
_BUILD_ID = "buildkit-controlapi-buildid"
#: What the gateway can do. Clients ask for no more than is named here.
_CAPABILITIES = (
    "solve.base",
    "return",
    "returnmap",
    "proto.refarray",
    "importcaches",
    "gateway.evaluate",
    "reference.output",
    "frontend.inputs",
)
#: Where --add-host=NAME:host-gateway leads.
_GATEWAY_LABEL = "org.mobyproject.buildkit.worker.moby.host-gateway-ip"
#: Whose protocol this is.
VERSION = Version("github.com/moby/buildkit", "v0.13.2", "")

_M = TypeVar("_M")


@dataclass(frozen=True, slots=True)
class BuildKit:
    """The service of one engine. `worker` describes the engine, as `buildx inspect` shows it."""

    builds: Builds
    worker: Worker
    sessions: Sessions = field(default_factory=Sessions)
    jobs: Jobs = field(default_factory=Jobs)

    def handlers(self) -> dict[str, Handler]:
        return {
            f"{_CONTROL}/Solve": self._solve,
            f"{_CONTROL}/Status": self._status,
            f"{_CONTROL}/ListWorkers": _unary(Empty, self._list_workers),
            f"{_CONTROL}/Info": _unary(Empty, self._info),
            f"{_CONTROL}/DiskUsage": _unary(DiskUsageRequest, self._disk_usage),
            f"{_CONTROL}/Prune": self._prune,
            f"{_BRIDGE}/Ping": _unary(Empty, self._ping),
            f"{_BRIDGE}/Solve": self._bridge_solve,
            f"{_BRIDGE}/Evaluate": _unary(Empty, _nothing),
            f"{_BRIDGE}/Warn": _unary(Empty, _nothing),
            f"{_BRIDGE}/Return": self._return,
        }

    async def carry_out(self, job: Job) -> dict[str, str]:
        """All of it, and what its exporters tell. Raises CallFailed."""
        with self.jobs.running(job):
            await job.build(job.request.frontend, job.request.frontend_attrs)
            return await job.export()

    async def _solve(self, call: Call) -> None:
        request = await _read(call, SolveRequest)
        job = Job(request, self.builds, self.sessions)
        work = self.carry_out if request.frontend or request.definition else self._serve_gateway
        await call.send(encode(SolveResponse(await work(job))))

    async def _serve_gateway(self, job: Job) -> dict[str, str]:
        """The client says by the gateway what is to be done, and returns when it is."""
        with self.jobs.running(job):
            returned = await job.returned
            if (error := returned.error) is not None:
                raise CallFailed(error.code or Code.UNKNOWN, error.message, encode(error))
            return await job.export()

    async def _status(self, call: Call) -> None:
        progress = await self.jobs.find_progress((await _read(call, StatusRequest)).ref)
        async with aclosing(progress.watch()) as told:
            async for response in told:
                await call.send(encode(response))

    async def _prune(self, call: Call) -> None:
        """Each record that went is told."""
        request = plan_request(await _read(call, PruneRequest), time.time_ns())
        gone, _freed = await self.builds.prune(request)
        for record in gone:
            await call.send(encode(render_record(record)))

    async def _bridge_solve(self, call: Call) -> None:
        job = await self._job_of(call)
        request = await _read(call, BridgeSolveRequest)
        await job.build(request.frontend, resolve(request.frontend_opt, request.frontend_inputs), self.jobs.results())
        await call.send(encode(BridgeSolveResponse(result=Result(Ref(job.image, define(job.image))))))

    async def _return(self, call: Call) -> None:
        job = await self._job_of(call)
        request = await _read(call, ReturnRequest)
        if not job.returned.done():
            job.returned.set_result(request)
        await call.send(encode(Empty()))

    async def _job_of(self, call: Call) -> Job:
        return await self.jobs.find(dict(call.metadata).get(_BUILD_ID, ""))

    async def _list_workers(self, _request: Empty) -> WorkersResponse:
        return WorkersResponse((self.worker,))

    async def _info(self, _request: Empty) -> InfoResponse:
        return InfoResponse(VERSION)

    async def _disk_usage(self, request: DiskUsageRequest) -> UsageResponse:
        wanted = parse_filters(request.filter)
        found = [record for record in await self.builds.list_cache() if matches(wanted, record)]
        return UsageResponse(tuple(render_record(record) for record in found))

    async def _ping(self, _request: Empty) -> Pong:
        return Pong(tuple(Capability(name, True) for name in _CAPABILITIES), workers=(self.worker,))


def describe_worker(identity: str, architecture: str, gateway: str) -> Worker:
    """No label of a snapshotter: it would say that images of several platforms and caches can be exported."""
    labels = {_GATEWAY_LABEL: gateway} if gateway else {}
    return Worker(identity, labels, (Platform(architecture, "linux"),), VERSION)


async def _nothing(_request: Empty) -> Empty:
    return Empty()


async def _read(call: Call, kind: type[_M]) -> _M:
    """Raises InvalidArgument."""
    message = await call.receive()
    try:
        return decode(kind, message or b"")
    except ProtobufError as error:
        raise InvalidArgument(f"{call.path}: {error}") from error


def _unary(kind: type[_M], answer: Callable[[_M], Awaitable[object]]) -> Handler:
    async def handle(call: Call) -> None:
        await call.send(encode(await answer(await _read(call, kind))))

    return handle
