"""Init in the guest, as the supervisor talks with it: requests and answers, and what init says unasked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from itertools import count

from guest_agent.wire.errors import HostvmError, PeerMisbehaved, Unavailable, error_of_record
from hostvm.supervisor.channel import Channel
from hostvm.supervisor.streams import Stream

Message = dict[str, object]


class Guest:
    """The control stream over one connection of the channel. `heard` gets the guest's events."""

    def __init__(self, heard: Callable[[Message], None]) -> None:
        self._heard = heard
        self._stream: Stream | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._ids = count(1)

    async def attach(self, channel: Channel) -> None:
        """Opens the stream; one that was open is let go. Raises Unavailable."""
        self.detach()
        self._stream = await channel.open({"to": "control"})
        self._reader = asyncio.ensure_future(self._read(self._stream))

    def detach(self) -> None:
        """Whoever waits for an answer gets Unavailable."""
        if self._reader is not None:
            self._reader.cancel()
        self._reader = self._stream = None
        self._fail(Unavailable("the guest's control stream was closed"))

    async def ask(self, operation: str, timeout: float = 10.0, **fields: object) -> Message:
        """The answer. Raises the guest's error, Unavailable when none comes in time."""
        if self._stream is None:
            raise Unavailable("the guest isn't connected")
        number = next(self._ids)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._stream.write(json.dumps({"id": number, "op": operation, **fields}).encode() + b"\n")
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise Unavailable(f"the guest doesn't answer to {operation!r}") from None
        finally:
            self._waiting.pop(number, None)

    async def set_time(self) -> None:
        """The host's time, as it is when the request leaves."""
        await self.ask("set-time", time_ns=time.time_ns())

    async def set_search(self, domains: list[str]) -> None:
        """With which domains the guest and its new containers complete short names."""
        await self.ask("resolver", search=domains)

    async def clock_offset(self) -> float:
        """Seconds that the guest's clock is ahead of ours; 0 as far as the way there and back may be the reason."""
        before = time.time_ns()
        answer = await self.ask("time")
        after = time.time_ns()
        guest = answer.get("time_ns")
        if not isinstance(guest, int):
            raise PeerMisbehaved("the guest's time is no number")
        offset, doubt = guest - (before + after) // 2, (after - before) // 2
        return 0.0 if abs(offset) <= doubt else offset / 1e9

    async def _read(self, stream: Stream) -> None:
        try:
            while line := await stream.readline():
                self._take(line)
            self._fail(Unavailable("the guest closed its control stream"))
        except HostvmError as error:
            self._fail(error)

    def _take(self, line: bytes) -> None:
        """What can't be read is skipped: the guest isn't trusted to write JSON."""
        try:
            message = json.loads(line)
        except ValueError:
            return
        if not isinstance(message, dict):
            return
        waiting = self._waiting.get(message["id"]) if type(message.get("id")) is int else None
        if waiting is None:
            if "event" in message:
                self._heard(message)
        elif not waiting.done():
            self._answer(waiting, message)

    def _answer(self, waiting: asyncio.Future[Message], message: Message) -> None:
        error = message.get("error")
        if isinstance(error, dict):
            waiting.set_exception(error_of_record(error))
        else:
            waiting.set_result(message)

    def _fail(self, error: HostvmError) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(error)
        self._waiting.clear()
