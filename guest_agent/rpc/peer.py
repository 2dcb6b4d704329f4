"""The asyncio shell of `RpcConnection`: a connection's bytes move, each incoming call is a task."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from guest_agent.rpc.connection import (
    CallBegan,
    CallEnded,
    InputEnded,
    MessageCame,
    Metadata,
    RpcConnection,
    RpcEvent,
)
from guest_agent.rpc.status import CallFailed, Code, code_of
from guest_agent.wire.errors import HostvmError

log = logging.getLogger(__name__)

#: Bytes of a call that may wait for the peer before its sender waits as well.
_HIGH_WATER = 256 << 10


class Link(Protocol):
    """A connection that carries nothing but HTTP/2."""

    async def read(self) -> bytes:
        """At least one byte; b"" at the end."""
        ...

    def send(self, data: bytes) -> None: ...

    async def write(self, data: bytes) -> None:
        """Queue, and wait while the peer doesn't take it."""
        ...


class Call:
    """One call, at either end. Who is called reads, sends, returns; who calls reads until None."""

    def __init__(self, peer: Peer, stream: int, path: str = "", metadata: Metadata = ()) -> None:
        self._peer = peer
        self.stream = stream
        self.path = path
        self.metadata = metadata
        self._messages: deque[bytes] = deque()
        self._ended = False
        self._failure: CallFailed | None = None
        self._changed = asyncio.Event()

    async def receive(self) -> bytes | None:
        """The next message, None after the last. Raises CallFailed if the call ended badly."""
        while not self._messages:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        message = self._messages.popleft()
        self._peer.taken(self)
        return message

    async def send(self, message: bytes) -> None:
        """Waits while the peer doesn't read. Raises CallFailed if the call is over."""
        self._peer.send(self, message)
        while self._peer.backlog(self) > _HIGH_WATER and self._failure is None:
            self._changed.clear()
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure

    def end_input(self) -> None:
        """Who calls has said everything."""
        self._peer.end_input(self)

    # -- the peer's side

    def take(self, message: bytes) -> None:
        self._messages.append(message)
        self._changed.set()

    def end(self, failure: CallFailed | None) -> None:
        self._ended, self._failure = True, failure
        self._changed.set()

    def wake(self) -> None:
        """There may be room again."""
        self._changed.set()


Handler = Callable[[Call], Awaitable[None]]


class Peer:
    """`run` moves the bytes until the connection is over; then all of its calls are, too."""

    def __init__(self, link: Link, client: bool, handlers: Mapping[str, Handler] | None = None) -> None:
        self._link = link
        self._connection = RpcConnection(client)
        self._handlers = handlers or {}
        self._calls: dict[int, Call] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._greeted = asyncio.Event()

    async def greeted(self) -> None:
        """Until the other end speaks, or is gone. Before that, a Go client that gives up waits for itself."""
        await self._greeted.wait()

    async def run(self) -> None:
        """Returns when the peer is gone or breaks the protocol; no call goes on after that."""
        try:
            self._flush()
            while not self._connection.failed:
                data = await self._link.read()
                if not data:
                    break
                self._greeted.set()
                self._react(self._connection.receive(data))
                await self._link.write(self._connection.bytes_to_send())
        finally:
            self._greeted.set()
            self._react(self._connection.lose("the connection is closed"))
            await self._end_tasks()

    @asynccontextmanager
    async def call(self, path: str, metadata: Iterable[tuple[str, str]] = ()) -> AsyncGenerator[Call, None]:
        """Left before its end, the call is cancelled. Raises CallFailed as `RpcConnection.begin_call` does."""
        stream = self._connection.begin_call(path, metadata)
        call = self._calls[stream] = Call(self, stream, path)
        self._flush()
        try:
            yield call
        finally:
            self._calls.pop(stream, None)
            self._connection.reset(stream)
            self._flush()

    async def ask(self, path: str, message: bytes, metadata: Iterable[tuple[str, str]] = ()) -> bytes:
        """A call with one message each way. Raises CallFailed."""
        async with self.call(path, metadata) as call:
            await call.send(message)
            call.end_input()
            answer = await call.receive()
            if answer is None:
                raise CallFailed(Code.INTERNAL, f"{path} gave no answer")
            await call.receive()
            return answer

    # -- the calls' side

    def send(self, call: Call, message: bytes) -> None:
        self._connection.send_message(call.stream, message)
        self._flush()

    def taken(self, call: Call) -> None:
        self._connection.taken(call.stream)
        self._flush()

    def backlog(self, call: Call) -> int:
        return self._connection.backlog(call.stream)

    def end_input(self, call: Call) -> None:
        self._connection.end_input(call.stream)
        self._flush()

    # -- inside

    def _flush(self) -> None:
        data = self._connection.bytes_to_send()
        if data:
            self._link.send(data)

    def _react(self, events: Iterable[RpcEvent]) -> None:
        for event in events:
            if isinstance(event, CallBegan):
                self._begin(event)
            elif (call := self._calls.get(event.stream)) is not None:
                self._tell(call, event)
        for call in self._calls.values():
            call.wake()

    def _tell(self, call: Call, event: MessageCame | InputEnded | CallEnded) -> None:
        if isinstance(event, MessageCame):
            call.take(event.message)
        elif isinstance(event, InputEnded):
            call.end(None)
        else:
            call.end(CallFailed(event.code, event.message) if event.code else None)
            if event.stream in self._tasks:
                self._tasks[event.stream].cancel()

    def _begin(self, began: CallBegan) -> None:
        call = self._calls[began.stream] = Call(self, began.stream, began.path, began.metadata)
        self._tasks[began.stream] = asyncio.create_task(self._serve(call))

    async def _serve(self, call: Call) -> None:
        code, message, details = int(Code.OK), "", b""
        try:
            handler = self._handlers.get(call.path)
            if handler is None:
                raise CallFailed(Code.UNIMPLEMENTED, f"unknown method {call.path}")
            await handler(call)
        except HostvmError as error:
            code, message = code_of(error), error.message
            details = error.details if isinstance(error, CallFailed) else b""
        except Exception:
            log.exception("%s failed", call.path)
            code, message = Code.INTERNAL, "internal error; the engine's log has the details"
        finally:
            self._calls.pop(call.stream, None)
            self._tasks.pop(call.stream, None)
            self._connection.finish(call.stream, code, message, details)
            self._flush()

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
