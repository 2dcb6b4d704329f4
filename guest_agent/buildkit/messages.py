"""The messages of BuildKit's services, as far as they are used here; names and numbers are BuildKit's.

api/services/control/control.proto, frontend/gateway/pb/gateway.proto, api/types/worker.proto, session/*/*.proto in
github.com/moby/buildkit 0.13; types/*.proto in github.com/tonistiigi/fsutil.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from guest_agent.rpc.protobuf import data, datas, flag, integer, message, messages, text, text_map, texts


@dataclass(frozen=True, slots=True)
class Empty:
    """Of many names."""


@dataclass(frozen=True, slots=True)
class Timestamp:
    seconds: int = integer(1)
    nanos: int = integer(2)


def timestamp(time_ns: int) -> Timestamp:
    return Timestamp(*divmod(time_ns, 1_000_000_000))


# -- moby.buildkit.v1.Control


@dataclass(frozen=True, slots=True)
class Exporter:
    type: str = text(1)
    attrs: Mapping[str, str] = text_map(2)


@dataclass(frozen=True, slots=True)
class SolveRequest:
    """`exporter` is the one of clients that know of one only."""

    ref: str = text(1)
    definition: bytes = data(2)
    exporter: str = text(3)
    exporter_attrs: Mapping[str, str] = text_map(4)
    session: str = text(5)
    frontend: str = text(6)
    frontend_attrs: Mapping[str, str] = text_map(7)
    entitlements: tuple[str, ...] = texts(9)
    exporters: tuple[Exporter, ...] = messages(13, Exporter)


@dataclass(frozen=True, slots=True)
class SolveResponse:
    exporter_response: Mapping[str, str] = text_map(1)


@dataclass(frozen=True, slots=True)
class StatusRequest:
    ref: str = text(1)


@dataclass(frozen=True, slots=True)
class Vertex:
    """A line of the progress. It runs from `started`, is over with `completed`."""

    digest: str = text(1)
    inputs: tuple[str, ...] = texts(2)
    name: str = text(3)
    cached: bool = flag(4)
    started: Timestamp | None = message(5, Timestamp)
    completed: Timestamp | None = message(6, Timestamp)
    error: str = text(7)


@dataclass(frozen=True, slots=True)
class VertexStatus:
    """A part of a vertex that has a progress of its own."""

    id: str = text(1)
    vertex: str = text(2)
    name: str = text(3)
    current: int = integer(4)
    total: int = integer(5)
    timestamp: Timestamp | None = message(6, Timestamp)
    started: Timestamp | None = message(7, Timestamp)
    completed: Timestamp | None = message(8, Timestamp)


@dataclass(frozen=True, slots=True)
class VertexLog:
    """`stream`: 1 or 2, as a command writes."""

    vertex: str = text(1)
    timestamp: Timestamp | None = message(2, Timestamp)
    stream: int = integer(3)
    msg: bytes = data(4)


@dataclass(frozen=True, slots=True)
class StatusResponse:
    vertexes: tuple[Vertex, ...] = messages(1, Vertex)
    statuses: tuple[VertexStatus, ...] = messages(2, VertexStatus)
    logs: tuple[VertexLog, ...] = messages(3, VertexLog)


@dataclass(frozen=True, slots=True)
class Version:
    package: str = text(1)
    version: str = text(2)
    revision: str = text(3)


@dataclass(frozen=True, slots=True)
class Platform:
    architecture: str = text(1)
    os: str = text(2)
    variant: str = text(3)


@dataclass(frozen=True, slots=True)
class Worker:
    id: str = text(1)
    labels: Mapping[str, str] = text_map(2)
    platforms: tuple[Platform, ...] = messages(3, Platform)
    version: Version | None = message(5, Version)


@dataclass(frozen=True, slots=True)
class WorkersResponse:
    record: tuple[Worker, ...] = messages(1, Worker)


@dataclass(frozen=True, slots=True)
class InfoResponse:
    version: Version | None = message(1, Version)


@dataclass(frozen=True, slots=True)
class PruneRequest:
    """`keep_duration` in ns; `reserved_space` was keepBytes until 0.17, which is what clients mean by the first two.

    buildx sends the last two only where a capability says that they are understood; others may do so unasked.
    """

    filter: tuple[str, ...] = texts(1)
    all: bool = flag(2)
    keep_duration: int = integer(3)
    reserved_space: int = integer(4)
    max_used_space: int = integer(5)
    min_free_space: int = integer(6)


@dataclass(frozen=True, slots=True)
class DiskUsageRequest:
    filter: tuple[str, ...] = texts(1)


@dataclass(frozen=True, slots=True)
class UsageRecord:
    id: str = text(1)
    mutable: bool = flag(2)
    in_use: bool = flag(3)
    size: int = integer(4)
    created_at: Timestamp | None = message(6, Timestamp)
    last_used_at: Timestamp | None = message(7, Timestamp)
    usage_count: int = integer(8)
    description: str = text(9)
    record_type: str = text(10)
    shared: bool = flag(11)
    parents: tuple[str, ...] = texts(12)


@dataclass(frozen=True, slots=True)
class UsageResponse:
    record: tuple[UsageRecord, ...] = messages(1, UsageRecord)


# -- moby.buildkit.v1.frontend.LLBBridge


@dataclass(frozen=True, slots=True)
class Capability:
    id: str = text(1)
    enabled: bool = flag(2)


@dataclass(frozen=True, slots=True)
class Pong:
    frontend_caps: tuple[Capability, ...] = messages(1, Capability)
    llb_caps: tuple[Capability, ...] = messages(2, Capability)
    workers: tuple[Worker, ...] = messages(3, Worker)


@dataclass(frozen=True, slots=True)
class Source:
    identifier: str = text(1)


@dataclass(frozen=True, slots=True)
class Input:
    digest: str = text(1)


@dataclass(frozen=True, slots=True)
class Operation:
    """pb.Op of solver/pb/ops.proto."""

    inputs: tuple[Input, ...] = messages(1, Input)
    source: Source | None = message(3, Source)


@dataclass(frozen=True, slots=True)
class OperationNote:
    """Of a map: an operation's digest, and what is noted of it, which may be nothing."""

    digest: str = text(1)


@dataclass(frozen=True, slots=True)
class Definition:
    """LLB: encoded operations, each behind its inputs, which are known by their digests. The last one is the end."""

    operations: tuple[bytes, ...] = datas(1)
    notes: tuple[OperationNote, ...] = messages(2, OperationNote)


@dataclass(frozen=True, slots=True)
class DefinitionEntry:
    """Of a map."""

    key: str = text(1)
    value: Definition | None = message(2, Definition)


@dataclass(frozen=True, slots=True)
class BridgeSolveRequest:
    definition: bytes = data(1)
    frontend: str = text(2)
    frontend_opt: Mapping[str, str] = text_map(3)
    frontend_inputs: tuple[DefinitionEntry, ...] = messages(13, DefinitionEntry)


@dataclass(frozen=True, slots=True)
class Ref:
    id: str = text(1)
    definition: Definition | None = message(2, Definition)


@dataclass(frozen=True, slots=True)
class Result:
    ref: Ref | None = message(3, Ref)


@dataclass(frozen=True, slots=True)
class BridgeSolveResponse:
    ref: str = text(1)
    result: Result | None = message(3, Result)


@dataclass(frozen=True, slots=True)
class Detail:
    """google.protobuf.Any; BuildKit's values are JSON."""

    type_url: str = text(1)
    value: bytes = data(2)


@dataclass(frozen=True, slots=True)
class RpcStatus:
    """google.rpc.Status"""

    code: int = integer(1)
    message: str = text(2)
    details: tuple[Detail, ...] = messages(3, Detail)


@dataclass(frozen=True, slots=True)
class ReturnRequest:
    result: Result | None = message(1, Result)
    error: RpcStatus | None = message(2, RpcStatus)


# -- the session's services


@dataclass(frozen=True, slots=True)
class Bytes:
    """Of a stream without messages."""

    data: bytes = data(1)


@dataclass(frozen=True, slots=True)
class SecretRequest:
    id: str = text(1)


@dataclass(frozen=True, slots=True)
class SecretResponse:
    data: bytes = data(1)


@dataclass(frozen=True, slots=True)
class AgentRequest:
    id: str = text(1)


@dataclass(frozen=True, slots=True)
class CredentialsRequest:
    host: str = text(1)


@dataclass(frozen=True, slots=True)
class CredentialsResponse:
    username: str = text(1)
    secret: str = text(2)


class PacketType(IntEnum):
    STAT = 0
    REQ = 1
    DATA = 2
    FIN = 3
    ERR = 4


@dataclass(frozen=True, slots=True)
class Stat:
    """`mode` is Go's os.FileMode; `mtime_ns` counts from 1970. A regular file with a `link` is a hard link."""

    path: str = text(1)
    mode: int = integer(2)
    uid: int = integer(3)
    gid: int = integer(4)
    size: int = integer(5)
    mtime_ns: int = integer(6)
    link: str = text(7)
    device_major: int = integer(8)
    device_minor: int = integer(9)


@dataclass(frozen=True, slots=True)
class Packet:
    """STAT without a stat ends the list; DATA without data ends a file. A file's id is its place in the list."""

    type: int = integer(1)
    stat: Stat | None = message(2, Stat)
    id: int = integer(3)
    data: bytes = data(4)
