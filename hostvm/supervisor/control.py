"""control.sock: one line of JSON, one line back. For the command line; nobody else may open it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping

from guest_agent.wire.errors import HostvmError, Internal, InvalidArgument, error_record
from hostvm.supervisor.journal import say

Message = dict[str, object]

#: Longer requests are none of ours.
_LONGEST = 1 << 20
#: Seconds for a client to finish its line.
_PATIENCE = 10.0

#: Answers a request; None where the connection was taken over, and will be closed by whoever has it.
Operation = Callable[[Message, socket.socket], Awaitable[Message | None]]


class Control:
    """`operations` maps `op` to what does it."""

    def __init__(self, listener: socket.socket, operations: Mapping[str, Operation]) -> None:
        self._listener = listener
        self._operations = operations
        self._clients: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(self._listener)
            client.setblocking(False)
            task = asyncio.ensure_future(self._answer(client))
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)

    async def _answer(self, client: socket.socket) -> None:
        try:
            answer = await self._ask(client)
        except HostvmError as error:
            answer = {"error": error_record(error)}
        except (OSError, TimeoutError):
            client.close()
            return
        except Exception as error:
            say(f"control: {error!r}")
            answer = {"error": error_record(Internal(f"{type(error).__name__}: {error}", "see supervisor.log"))}
        if answer is not None:
            await send_line(client, answer)
            client.close()

    async def _ask(self, client: socket.socket) -> Message | None:
        async with asyncio.timeout(_PATIENCE):
            request = await read_request(client)
        operation = self._operations.get(str(request.get("op")))
        if operation is None:
            raise InvalidArgument(f"the supervisor has no operation {request.get('op')!r}", "upgraded? restart it")
        return await operation(request, client)


async def read_request(client: socket.socket) -> Message:
    """One line. Not a byte more is taken: what follows may be a stream's. Raises InvalidArgument, OSError."""
    loop = asyncio.get_running_loop()
    line = b""
    while not line.endswith(b"\n"):
        await wait_readable(client)
        peeked = client.recv(1 << 16, socket.MSG_PEEK)
        if not peeked or len(line) > _LONGEST:
            raise InvalidArgument("no request")
        line += await loop.sock_recv(client, peeked.find(b"\n") + 1 or len(peeked))
    try:
        request = json.loads(line)
    except ValueError as error:
        raise InvalidArgument(f"no JSON: {error}") from error
    if not isinstance(request, dict):
        raise InvalidArgument("no JSON object")
    return request


async def wait_readable(client: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(client, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(client)


async def send_line(client: socket.socket, message: Message) -> None:
    """A client that has gone doesn't hear it."""
    try:
        await asyncio.get_running_loop().sock_sendall(client, json.dumps(message).encode() + b"\n")
    except OSError:
        pass
