"""Clients' own sides: what a build may ask of them. One registry for the engine, entries by the session's id."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Protocol, TypeVar
from urllib.parse import quote_plus

from guest_agent.build.trees import ContextTree
from guest_agent.buildkit.messages import (
    AgentRequest,
    Bytes,
    CredentialsRequest,
    CredentialsResponse,
    Packet,
    SecretRequest,
    SecretResponse,
)
from guest_agent.buildkit.receiving import FolderReceiver
from guest_agent.buildkit.sending import FolderSender
from guest_agent.rpc.peer import Call
from guest_agent.rpc.protobuf import ProtobufError, decode, encode
from guest_agent.rpc.status import CallFailed, Code
from guest_agent.wire.errors import PeerMisbehaved, Unavailable
from guest_agent.wire.models import Credentials

_FILES = "/moby.filesync.v1.FileSync/DiffCopy"
_RESULTS = "/moby.filesync.v1.FileSend/DiffCopy"
_EXPORTER = "buildkit-attachable-exporter-id"
_UPLOAD = "/moby.upload.v1.Upload/Pull"
_SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"
_AGENT = "/moby.sshforward.v1.SSH/ForwardAgent"
_CHECK_AGENT = "/moby.sshforward.v1.SSH/CheckAgent"
_CREDENTIALS = "/moby.filesync.v1.Auth/Credentials"
#: Where a client keeps what it has for the hub.
_HUB, _HUB_KEY = "docker.io", "https://index.docker.io/v1/"
#: Seconds for a session's connection, which a client opens beside its request, in no order.
_PATIENCE = 20.0
_Metadata = list[tuple[str, str]]
_M = TypeVar("_M")


class Answering(Protocol):
    """Who can be called."""

    async def greeted(self) -> None: ...
    def call(self, path: str, metadata: Iterable[tuple[str, str]] = ()) -> AbstractAsyncContextManager[Call]: ...
    async def ask(self, path: str, message: bytes, metadata: Iterable[tuple[str, str]] = ()) -> bytes: ...


class _Nobody:
    """A client without a session: it can't be asked for anything."""

    async def greeted(self) -> None:
        """At once."""

    def call(self, path: str, metadata: Iterable[tuple[str, str]] = ()) -> AbstractAsyncContextManager[Call]:
        raise CallFailed(Code.UNIMPLEMENTED, "no active sessions")

    async def ask(self, path: str, message: bytes, metadata: Iterable[tuple[str, str]] = ()) -> bytes:
        raise CallFailed(Code.UNIMPLEMENTED, "no active sessions")


class ClientSession:
    """What the client answers. Raises CallFailed where it refuses, PeerMisbehaved where it breaks the protocol."""

    def __init__(self, peer: Answering) -> None:
        self._peer = peer

    async def ready(self) -> None:
        """Until it can be asked."""
        await self._peer.greeted()

    async def folder(
        self, name: str, prefix: str = "", follow: Iterable[str] = (), excludes: Iterable[str] = ()
    ) -> AsyncGenerator[bytes, None]:
        """A folder as entries of a tar, without its end; of nothing but `follow`, if there is some.

        A name that isn't there is left out.
        """
        metadata = [*_header("dir-name", [name]), *_header("followpaths", follow)]
        metadata += _header("exclude-patterns", excludes)
        receiver = FolderReceiver(prefix)
        async with self._peer.call(_FILES, metadata) as call:
            while not receiver.finished:
                message = await call.receive()
                if message is None:
                    raise PeerMisbehaved(f"the folder {name} ended in the middle")
                for piece in receiver.take(_decode(Packet, message)):
                    yield piece
                replies, receiver.replies = receiver.replies, []
                for reply in replies:
                    await call.send(encode(reply))

    async def upload(self, path: str) -> AsyncGenerator[bytes, None]:
        """What the client was given as its standard input."""
        async with self._peer.call(_UPLOAD, [("urlpath", path)]) as call:
            call.end_input()
            while (message := await call.receive()) is not None:
                yield _decode(Bytes, message).data

    async def send_folder(self, tree: ContextTree, exporter: int) -> None:
        """Files to where the client's exporter of this number writes them."""
        sender = FolderSender(tree)
        async with self._peer.call(_RESULTS, [(_EXPORTER, str(exporter))]) as call:
            for packet in sender.listing():
                await call.send(encode(packet))
            while not sender.finished:
                message = await call.receive()
                if message is None:
                    raise PeerMisbehaved("the receiver of the build's files ended in the middle")
                for reply in sender.answer(_decode(Packet, message)):
                    await call.send(encode(reply))
            call.end_input()
            await call.receive()

    async def send_file(self, pieces: AsyncIterator[bytes], exporter: int) -> None:
        """One file, which the client's exporter of this number writes."""
        async with self._peer.call(_RESULTS, [(_EXPORTER, str(exporter))]) as call:
            async for piece in pieces:
                await call.send(encode(Bytes(piece)))
            call.end_input()
            await call.receive()

    async def secret(self, name: str) -> bytes | None:
        """None where the client hasn't got it."""
        try:
            answer = await self._peer.ask(_SECRET, encode(SecretRequest(name)))
        except CallFailed as error:
            if error.code in (Code.NOT_FOUND, Code.UNIMPLEMENTED):
                return None
            raise
        return _decode(SecretResponse, answer).data

    async def has_agent(self, name: str) -> bool:
        try:
            await self._peer.ask(_CHECK_AGENT, encode(AgentRequest(name)))
        except CallFailed:
            return False
        return True

    @asynccontextmanager
    async def agent(self, name: str) -> AsyncGenerator[Call, None]:
        """A connection to the client's ssh agent of this id; `say` and `heard` are its two directions."""
        async with self._peer.call(_AGENT, _header("buildkit.ssh.id", [name])) as call:
            yield call

    async def say(self, call: Call, data: bytes) -> None:
        await call.send(encode(Bytes(data)))

    async def heard(self, call: Call) -> bytes | None:
        """None at its end."""
        message = await call.receive()
        return None if message is None else _decode(Bytes, message).data

    async def credentials_of(self, registry: str) -> Credentials | None:
        """None where the client has none. A secret without a user is a token."""
        try:
            request = CredentialsRequest(_HUB_KEY if registry == _HUB else registry)
            found = _decode(CredentialsResponse, await self._peer.ask(_CREDENTIALS, encode(request)))
        except CallFailed:
            return None
        if found.username:
            return Credentials(username=found.username, password=found.secret)
        return Credentials(identity_token=found.secret) if found.secret else None


class Sessions:
    """Those that are connected."""

    def __init__(self) -> None:
        self._connected: dict[str, ClientSession] = {}
        self._changed = asyncio.Event()

    @contextmanager
    def connected(self, identity: str, session: ClientSession) -> Iterator[None]:
        """While its connection lasts. A second one of the same id takes the place of the first."""
        self._connected[identity] = session
        self._changed.set()
        try:
            yield
        finally:
            if self._connected.get(identity) is session:
                del self._connected[identity]

    async def wait_connected(self, identity: str) -> ClientSession:
        """Nobody's for "". Raises Unavailable if it doesn't come."""
        if not identity:
            return ClientSession(_Nobody())
        try:
            async with asyncio.timeout(_PATIENCE):
                while identity not in self._connected:
                    self._changed.clear()
                    await self._changed.wait()
                session = self._connected[identity]
                await session.ready()
        except TimeoutError:
            raise Unavailable(f"no active session for {identity}: context deadline exceeded") from None
        return session


def _header(name: str, values: Iterable[str]) -> _Metadata:
    """As fsutil's clients decode it: what isn't ASCII is encoded like a query's value, and that is said."""
    given = list(values)
    if all(value.isascii() and value.isprintable() for value in given):
        return [(name, value) for value in given]
    return [*((name, quote_plus(value, errors="surrogateescape")) for value in given), (f"{name}-encoded", "1")]


def _decode(kind: type[_M], message: bytes) -> _M:
    try:
        return decode(kind, message)
    except ProtobufError as error:
        raise PeerMisbehaved(f"what the client said makes no sense: {error}") from error
