"""A client of BuildKit's in memory: its two connections, its files and secrets; and a builder that only watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory

from guest_agent.build.pruning import matches
from guest_agent.build.trees import ContextTree, empty_tree
from guest_agent.buildkit.messages import (
    AgentRequest,
    Bytes,
    CredentialsRequest,
    CredentialsResponse,
    Packet,
    PacketType,
    SecretRequest,
    SecretResponse,
    Stat,
)
from guest_agent.buildkit.services import BuildKit, describe_worker
from guest_agent.buildkit.sessions import ClientSession
from guest_agent.engine.build_client import BuildClient
from guest_agent.engine.build_requests import BuildRequest
from guest_agent.engine.build_results import BuildResult
from guest_agent.engine.build_watching import BuildWatcher
from guest_agent.rpc.peer import Call, Handler, Peer
from guest_agent.rpc.protobuf import decode, encode
from guest_agent.rpc.status import CallFailed, Code
from guest_agent.wire.cache_records import CacheRecord, PruneRequest, RecordType
from guest_agent.wire.errors import HostvmError
from guest_agent.wire.models import ContainerConfig, Credentials, ImageConfig, ImageId

IMAGE = "sha256:" + "1" * 64
CONFIG = ImageConfig(ImageId(IMAGE), "amd64", "linux", "", "", ContainerConfig(), ())
CACHED = (
    CacheRecord(
        "step", RecordType.REGULAR, 30, "1970-01-02T00:00:00.000000005Z", 2 * 10**9, 3, "RUN x", "base", shared=True
    ),
    CacheRecord("mount", RecordType.CACHE_MOUNT, 5, "", 0, in_use=True),
)


class MemoryLink:
    """One end; what is written comes out of `other`."""

    def __init__(self) -> None:
        self.other = self
        self._arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self) -> bytes:
        return await self._arrived.get()

    def send(self, data: bytes) -> None:
        if data:
            self.other._arrived.put_nowait(data)

    async def write(self, data: bytes) -> None:
        self.send(data)

    def close(self) -> None:
        self.other._arrived.put_nowait(b"")


@asynccontextmanager
async def connected(
    client_handlers: Mapping[str, Handler], server_handlers: Mapping[str, Handler]
) -> AsyncGenerator[tuple[Peer, Peer], None]:
    """(client, server) as HTTP/2 has them, running."""
    here, there = MemoryLink(), MemoryLink()
    here.other, there.other = there, here
    client, server = Peer(here, True, client_handlers), Peer(there, False, server_handlers)
    running = [asyncio.create_task(client.run()), asyncio.create_task(server.run())]
    try:
        yield client, server
    finally:
        here.close()
        there.close()
        await asyncio.gather(*running)


class PretendedResult(BuildResult):
    def __init__(self) -> None:
        self.config = None
        self.closed = False

    async def export(self) -> AsyncGenerator[bytes, None]:
        assert not self.closed
        yield b"a tar of "
        yield self.image.encode()

    async def open(self) -> ContextTree:
        return empty_tree()

    def close(self) -> None:
        self.closed = True


class PretendedBuilds:
    """Takes the request and its body; `error` or `stuck` come after them."""

    def __init__(self) -> None:
        self.requests: list[BuildRequest] = []
        self.bodies: list[bytes] = []
        self.error: HostvmError | None = None
        self.stuck = False
        self.cancelled = asyncio.Event()
        self.begun = asyncio.Event()
        self.registries: tuple[str, ...] = ()
        self.credentials: list[Credentials | None] = []
        self.results: list[PretendedResult] = []
        self.listed = 0
        self.needs_secrets: tuple[str, ...] = ()
        self.secrets: list[bytes | None] = []
        self.needs_agents: tuple[str, ...] = ()
        self.answers: list[bytes] = []

    async def build(
        self,
        request: BuildRequest,
        chunks: AsyncIterator[bytes],
        watcher: BuildWatcher | None = None,
        client: BuildClient | None = None,
        result: BuildResult | None = None,
    ) -> AsyncGenerator[dict[str, object], None]:
        self.requests.append(request)
        self.bodies.append(b"".join([chunk async for chunk in chunks]))
        self.begun.set()
        if client is not None:
            await self._ask(client)
        try:
            if self.stuck:
                await asyncio.Event().wait()
            if self.error is not None:
                raise self.error
            yield {"stream": "Step 1/1 : FROM scratch\n"}
            if result is not None:
                result.config = CONFIG
            yield {"aux": {"ID": IMAGE}}
        finally:
            self.cancelled.set()

    async def _ask(self, client: BuildClient) -> None:
        self.credentials = [await client.credentials_of(registry) for registry in self.registries]
        self.secrets = [await client.secret(name) for name in self.needs_secrets]
        for name in self.needs_agents:
            with TemporaryDirectory() as folder:
                async with client.agent(name, folder) as path:
                    self.answers.append(await _ask_agent(path) if path else b"")

    async def list_cache(self) -> tuple[CacheRecord, ...]:
        self.listed += 1
        return CACHED

    async def prune(self, request: PruneRequest) -> tuple[tuple[CacheRecord, ...], int]:
        return tuple(record for record in CACHED if matches(request.conditions, record)), 7

    def open_result(self) -> BuildResult:
        self.results.append(PretendedResult())
        return self.results[-1]


async def _ask_agent(path: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"question")
    answer = await reader.read(100)
    writer.close()
    return answer


@dataclass
class PretendedClient:
    """Who answers on the session. `folders`: name -> files."""

    folders: Mapping[str, Mapping[str, bytes]]
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    accounts: Mapping[str, CredentialsResponse] = field(default_factory=dict)
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    received: bytearray = field(default_factory=bytearray)
    takes_results: bool = True

    def handlers(self) -> dict[str, Handler]:
        return {
            "/moby.filesync.v1.FileSync/DiffCopy": self._folder,
            "/moby.filesync.v1.FileSend/DiffCopy": self._result,
            "/moby.buildkit.secrets.v1.Secrets/GetSecret": self._secret,
            "/moby.filesync.v1.Auth/Credentials": self._credentials,
            "/moby.sshforward.v1.SSH/CheckAgent": self._check_agent,
            "/moby.sshforward.v1.SSH/ForwardAgent": self._agent,
        }

    async def _folder(self, call: Call) -> None:
        asked: dict[str, list[str]] = {}
        for name, value in call.metadata:
            asked.setdefault(name, []).append(value)
        self.asked.append(asked)
        folder = self.folders.get(asked["dir-name"][0])
        if folder is None:
            raise CallFailed(Code.NOT_FOUND, "no access allowed to dir")
        files = [(name, data) for name, data in folder.items() if name in asked.get("followpaths", [name])]
        for name, data in files:
            await call.send(encode(Packet(PacketType.STAT, Stat(name, 0o644, size=len(data)))))
        await call.send(encode(Packet(PacketType.STAT)))
        while (message := await call.receive()) is not None:
            packet = decode(Packet, message)
            if packet.type == PacketType.FIN:
                await call.send(message)
                return
            await call.send(encode(Packet(PacketType.DATA, id=packet.id, data=files[packet.id][1])))
            await call.send(encode(Packet(PacketType.DATA, id=packet.id)))

    async def _result(self, call: Call) -> None:
        if not self.takes_results:
            raise CallFailed(Code.UNKNOWN, "no space left on device")
        while (message := await call.receive()) is not None:
            self.received += decode(Bytes, message).data

    async def _check_agent(self, call: Call) -> None:
        if decode(AgentRequest, await call.receive() or b"").id != "default":
            raise CallFailed(Code.UNKNOWN, "unset ssh forward key")
        await call.send(b"")

    async def _agent(self, call: Call) -> None:
        """One that answers in capital letters."""
        while (message := await call.receive()) is not None:
            await call.send(encode(Bytes(decode(Bytes, message).data.upper())))

    async def _credentials(self, call: Call) -> None:
        host = decode(CredentialsRequest, await call.receive() or b"").host
        await call.send(encode(self.accounts.get(host, CredentialsResponse())))

    async def _secret(self, call: Call) -> None:
        name = decode(SecretRequest, await call.receive() or b"").id
        if name not in self.secrets:
            raise CallFailed(Code.NOT_FOUND, "secret not found")
        await call.send(encode(SecretResponse(self.secrets[name])))


@dataclass
class Conversation:
    """A client that is connected twice."""

    control: Peer
    builds: PretendedBuilds
    service: BuildKit


@asynccontextmanager
async def conversation(client: PretendedClient) -> AsyncGenerator[Conversation, None]:
    builds = PretendedBuilds()
    service = BuildKit(builds, describe_worker("id", "amd64", "172.17.0.1"))
    async with connected({}, service.handlers()) as (control, _), connected({}, client.handlers()) as (session, _):
        with service.sessions.connected("s1", ClientSession(session)):
            yield Conversation(control, builds, service)
