"""The host's end of the channel, on asyncio: connects to QEMU's character device, opens streams, serves the guest's.

The wire is a unix socket that the loop watches (add_reader, add_writer): bytes go from socket to socket through the
multiplexer's own buffers. What the guest sends is checked by the multiplexer; a guest that breaks the protocol loses
all its streams, and the channel begins anew. Must run on macOS too: nothing here is Linux's.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Awaitable, Callable

from guest_agent.wire.channel import Multiplexer
from guest_agent.wire.channel_input import ChannelViolation
from guest_agent.wire.channel_stream import StreamEnd
from guest_agent.wire.errors import HostvmError, Unavailable, Unsupported
from guest_agent.wire.pump import Endpoint, Pump
from hostvm.supervisor.sockets import WatchedSocket
from hostvm.supervisor.streams import Stream

Handler = Callable[[dict[str, object], Stream], Awaitable[None]]

#: Output gathers up to this much before it is written: two frames.
_OUTPUT_SIZE = 64 << 10
#: Seconds between attempts to connect to a QEMU that isn't there, or not there yet.
_RETRY_SECONDS = 0.05
#: Seconds between two looks at whether a client that has ended its half still listens.
HALF_CLOSED_CHECK = 1.0
#: At most so many reads in one turn of the loop, so that other descriptors get theirs.
_READS_PER_TURN = 8


class Channel:
    """One machine's channel. `services` maps the `to` of a request from the guest to its handler.

    `connected` and `lost` run in the loop whenever the guest's end has (re)started, or all streams were lost.
    """

    def __init__(
        self,
        path: str,
        *,
        connected: Callable[[], None] = lambda: None,
        lost: Callable[[HostvmError], None] = lambda _error: None,
    ) -> None:
        self.services: dict[str, Handler] = {}
        self.violations = 0
        self._path = path
        self._connected = connected
        self._lost = lost
        self._socket: WatchedSocket | None = None
        self._broken = asyncio.Event()
        self._up = asyncio.Event()
        self._frozen = asyncio.Event()
        self._handlers: set[asyncio.Task[None]] = set()
        self._mux = Multiplexer(self, is_host=True, output_size=_OUTPUT_SIZE)

    @property
    def is_up(self) -> bool:
        """The guest's end answers; streams can be opened."""
        return self._up.is_set()

    async def run(self) -> None:
        """Connect, and again whenever the wire is cut; cancel it to end."""
        try:
            while True:
                await self._connect()
                await self._broken.wait()
                self._disconnect()
        finally:
            self._disconnect()
            for handler in self._handlers:
                handler.cancel()

    async def wait_up(self, timeout: float) -> None:
        """Raises Unavailable when the guest's end hasn't answered in so many seconds."""
        try:
            await asyncio.wait_for(self._up.wait(), timeout)
        except TimeoutError:
            raise Unavailable(f"the machine's agent didn't answer within {timeout:g} seconds") from None

    # -- streams

    async def open(self, request: dict[str, object], timeout: float = 10.0) -> Stream:
        """A stream to a service of the guest, accepted. Raises the error of a refusal, or Unavailable."""
        stream = Stream(request)
        stream.begin(self._mux.open(request, stream.receiver))
        try:
            await asyncio.wait_for(stream.wait_accepted(), timeout)
        except BaseException as error:
            stream.reset()
            if isinstance(error, TimeoutError):
                raise Unavailable(f"the machine's agent didn't answer within {timeout:g} seconds") from None
            raise
        return stream

    async def forward(self, request: dict[str, object], sock: socket.socket) -> dict[str, object]:
        """`open` and `relay` in one, without waiting for the answer: what comes from `sock` goes with the request.

        Raises the HostvmError of a refusal; `sock` is closed in any case.
        """
        relay = _Relay(sock)
        try:
            relay.pump.begin(self._mux.open(request, relay.pump))
        except HostvmError:
            sock.close()
            raise
        return await relay.outcome()

    async def relay(self, stream: Stream, sock: socket.socket) -> dict[str, object]:
        """Bytes both ways until both have ended, or one was reset; the closing message of the guest's side."""
        relay = _Relay(sock)
        stream.hand_over(relay.pump)
        try:
            return await relay.outcome()
        except HostvmError:
            return {}

    # -- freezing

    async def freeze(self, timeout: float) -> None:
        """End every stream, on both sides, and have the guest's end silent until `thaw`.

        Raises Unavailable where it doesn't answer; then the channel goes on, without its streams.
        """
        self._frozen.clear()
        self._up.clear()
        try:
            self._mux.freeze()
            await asyncio.wait_for(self._frozen.wait(), timeout)
        except (TimeoutError, HostvmError):
            self.thaw()
            raise Unavailable("the machine's agent doesn't answer") from None

    def thaw(self) -> None:
        """Speak to the guest's end again. `connected` is called when it answers."""
        self._mux.restart(Unavailable("the channel begins anew"))

    # -- the multiplexer's owner

    def up(self) -> None:
        self._up.set()
        self._connected()

    def down(self, error: HostvmError) -> None:
        self._up.clear()
        self._lost(error)

    def frozen(self) -> None:
        self._frozen.set()

    def opened(self, end: StreamEnd, request: dict[str, object]) -> None:
        handler = self.services.get(str(request.get("to")))
        if handler is None:
            end.reset(Unsupported(f"the host has no service {str(request.get('to'))[:40]!r}"))
            return
        stream = Stream(request)
        stream.begin(end)
        self._mux.adopt(end, stream.receiver)
        task = asyncio.get_running_loop().create_task(_handle(handler, request, stream))
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    def output_ready(self) -> None:
        """Not at once: more may be ready by the loop's next turn."""
        if self._socket is not None:
            self._socket.loop.call_soon(self._write)

    # -- the wire

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        while self._socket is None:
            wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            wire.setblocking(False)
            try:
                await loop.sock_connect(wire, self._path)
            except OSError:
                wire.close()
                await asyncio.sleep(_RETRY_SECONDS)
            except BaseException:
                wire.close()
                raise
            else:
                self._socket = WatchedSocket(loop, wire, self._read, self._write)
        self._broken.clear()
        self._socket.watch(True, False)
        self._write()

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close(abort=False)
            self._socket = None
            self._mux.restart(Unavailable("the channel to the machine was cut"))

    def _read(self) -> None:
        if self._socket is None:
            return
        for _ in range(_READS_PER_TURN):
            space = self._mux.space()
            try:
                count = self._socket.take(space)
            except BlockingIOError:
                break
            except OSError:
                count = 0
            if not count:
                self._broken.set()
                self._socket.watch(False, False)
                return
            try:
                self._mux.received(count)
            except ChannelViolation:
                self.violations += 1
            if count < len(space):
                break
        self._write()

    def _write(self) -> None:
        wire, mux = self._socket, self._mux
        if wire is None or self._broken.is_set():
            return
        written = 0
        while view := mux.output(written):
            try:
                written = wire.give(view)
            except BlockingIOError:
                wire.watch(True, True)
                return
            except OSError:
                self._broken.set()
                return
        wire.watch(True, False)


class _ClientPump(Pump):
    """Also notices that its client, after the end of what it had to say, no longer listens either.

    The guest's end can't see that: to it, a closed socket and a half-closed one are the same end of file. Of a silent
    answer (a build's long step, `logs --follow`) nothing would be written that could fail. The kernel tells the two
    apart by POLLHUP (unix(7) peers: both directions shut), and asyncio doesn't wait for that.
    """

    def __init__(
        self, endpoint: Endpoint, ended: Callable[[dict[str, object] | HostvmError], None], sock: socket.socket
    ) -> None:
        super().__init__(endpoint, ended)
        self._poll = select.poll()
        self._poll.register(sock, 0)

    def _end_source(self) -> None:
        super()._end_source()
        self._look_later()

    def _look_later(self) -> None:
        """Not at once: the end of file goes first, so that what the client has said still counts."""
        asyncio.get_running_loop().call_later(HALF_CLOSED_CHECK, self._look)

    def _look(self) -> None:
        if self._is_over:
            return
        if not self.stream.queued and self._poll.poll(0):
            self.abort()
        else:
            self._look_later()


class _Relay:
    """A pump between a stream and a socket of this process, and the future that tells its end."""

    def __init__(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[dict[str, object] | HostvmError] = loop.create_future()
        endpoint = WatchedSocket(loop, sock, lambda: self.pump.readable(), lambda: self.pump.writable_now())
        self.pump = _ClientPump(endpoint, self._ended, sock)

    async def outcome(self) -> dict[str, object]:
        try:
            outcome = await self._outcome
        except asyncio.CancelledError:
            self.pump.abort()
            raise
        if isinstance(outcome, HostvmError):
            raise outcome
        return outcome

    def _ended(self, outcome: dict[str, object] | HostvmError) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)


async def _handle(handler: Handler, request: dict[str, object], stream: Stream) -> None:
    try:
        await handler(request, stream)
    except HostvmError as error:
        stream.reset(error)
    except BaseException:
        stream.reset()
        raise
    else:
        stream.close()
