"""UDP from a socket of this host into the guest: each client, with the address that it wrote to, is a flow of its own,
so that answers find their way back and come from that very address. A flow that is silent is forgotten."""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict, deque
from collections.abc import Callable

from guest_agent.wire.datagrams import Decoder, encode
from guest_agent.wire.errors import HostvmError
from guest_agent.wire.listening import ask_for_destination
from hostvm.forward.contracts import Channel, Stream
from hostvm.forward.listeners import BURST, Request, request_of

#: docker-proxy's UDPConnTrackTimeout.
IDLE_SECONDS = 90.0
#: Flows of one port: the one that was silent longest makes room.
MOST_FLOWS = 1024
#: Bytes of a flow that may wait on their way to the guest; what comes beyond is dropped, as a full socket buffer does.
MOST_QUEUED = 256 << 10
_LARGEST = 65535
_ANCILLARY = 64

Address = tuple[object, ...]
Key = tuple[Address, bytes]
Answer = Callable[[bytes, Key], None]


class DatagramListener:
    """The Listener of a bound UDP socket."""

    def __init__(self, listener: socket.socket) -> None:
        self.socket = listener
        self._loop = asyncio.get_running_loop()
        self._info = ask_for_destination(listener)
        self._flows: OrderedDict[Key, Flow] = OrderedDict()

    @property
    def connections(self) -> int:
        return len(self._flows)

    def serve(self, channel: Channel, request: Request) -> None:
        self._loop.remove_reader(self.socket)
        self._loop.add_reader(self.socket, self._readable, channel, request)

    def pause(self, came: Callable[[], None] | None = None) -> None:
        self._loop.remove_reader(self.socket)
        for flow in list(self._flows.values()):
            flow.end()
        if came is not None:
            self._loop.add_reader(self.socket, self._tell, came)

    def close(self) -> None:
        if self.socket.fileno() >= 0:
            self.pause()
            self.socket.close()

    def _tell(self, came: Callable[[], None]) -> None:
        self._loop.remove_reader(self.socket)
        came()

    def _readable(self, channel: Channel, request: Request) -> None:
        for _ in range(BURST):
            try:
                data, ancillary, _, client = self.socket.recvmsg(_LARGEST, _ANCILLARY)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an ICMP error of an earlier answer
            key = (client, self._destination(ancillary))
            self._flow(key, channel, request).give(data)

    def _destination(self, ancillary: list[tuple[int, int, bytes]]) -> bytes:
        return next((payload for level, kind, payload in ancillary if (level, kind) == self._info), b"")

    def _flow(self, key: Key, channel: Channel, request: Request) -> Flow:
        flow = self._flows.get(key)
        if flow is None:
            if len(self._flows) >= MOST_FLOWS:
                next(iter(self._flows.values())).end()
            flow = self._flows[key] = Flow(channel, request_of(key[0], request), key, self._answer, self._forget)
        self._flows.move_to_end(key)
        return flow

    def _answer(self, data: bytes, key: Key) -> None:
        client, destination = key
        try:
            if self._info and destination:
                self.socket.sendmsg([data], [(*self._info, destination)], 0, client)
            else:
                self.socket.sendto(data, client)
        except OSError:
            pass  # the client is gone: the flow's own time ends it

    def _forget(self, key: Key, flow: Flow) -> None:
        if self._flows.get(key) is flow:
            del self._flows[key]


class Flow:
    """One client's datagrams. `ended` is called once."""

    def __init__(
        self, channel: Channel, request: Request, key: Key, answer: Answer, ended: Callable[[Key, Flow], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._key = key
        self._answer = answer
        self._ended = ended
        self._waiting: deque[bytes] = deque(maxlen=BURST)
        self._stream: Stream | None = None
        self._last = self._loop.time()
        self._timer = self._loop.call_later(IDLE_SECONDS, self._expire)
        self._work = self._loop.create_task(self._run(channel, request))
        self._work.add_done_callback(self._done)

    def give(self, data: bytes) -> None:
        """UDP may lose what nobody takes."""
        self._last = self._loop.time()
        if self._stream is None:
            self._waiting.append(data)
        elif self._stream.queued < MOST_QUEUED:
            self._send(self._stream, data)

    def end(self) -> None:
        self._timer.cancel()
        self._work.cancel()
        self._ended(self._key, self)

    def _send(self, stream: Stream, data: bytes) -> None:
        try:
            stream.write(encode(data))
        except HostvmError:
            self.end()

    async def _run(self, channel: Channel, request: Request) -> None:
        stream = await channel.open(request)
        try:
            self._stream = stream
            for data in self._waiting:
                self._send(stream, data)
            decoder = Decoder()
            while received := await stream.read():
                self._last = self._loop.time()
                for data in decoder.feed(received):
                    self._answer(data, self._key)
        finally:
            stream.reset()

    def _done(self, work: asyncio.Task[None]) -> None:
        self._timer.cancel()
        self._ended(self._key, self)
        if not work.cancelled() and not isinstance(failure := work.exception(), HostvmError | None):
            raise failure

    def _expire(self) -> None:
        left = self._last + IDLE_SECONDS - self._loop.time()
        if left <= 0:
            self.end()
        else:
            self._timer = self._loop.call_later(left, self._expire)
