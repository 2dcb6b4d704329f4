"""Ports of the machine's host, for an engine inside the machine: each is a lease (guest_agent/wire/leases.py).

Theory of operation. A lease is a stream to the host side, by way of the agent's socket. Its descriptor is held by the
keeper as a listening socket is natively, so the death of an engine changes nothing: the host side goes on serving. When
the stream ends (the agent or the supervisor has died, the machine was suspended), the port is bound and served again in
the background, as soon as somebody answers; until then the container runs without it, and `info` says so. The engine is
not on the way of the data: the host side connects through the agent.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from guest_agent.networks.gateway import HeldPort
from guest_agent.networks.ports import PortRecord, check_address, plan_waves, refusal
from guest_agent.wire.errors import HostFailed, HostvmError, PeerMisbehaved, Unavailable
from guest_agent.wire.leases import (
    LONGEST_LINE,
    SERVICE,
    Answer,
    Bind,
    Bound,
    Failed,
    Refused,
    Release,
    Request,
    Serve,
    format_request,
    parse_answer,
)
from guest_agent.wire.models import PortBinding

#: Seconds for the host side to answer: it has only system calls to make, but the machine may be an emulated one.
ANSWER_SECONDS = 10.0
#: Seconds that a release waits: a container's end must not hang on a host side that does.
RELEASE_SECONDS = 5.0
#: Seconds between two tries for a lost lease: soon after the loss, since the host side is mostly back at once.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.2
#: Seconds until a port is tried again that the host side refused: somebody else has it meanwhile.
REFUSED_PAUSE = 2.0
#: Leases asked for at once.
_AT_ONCE = 32
_REQUEST = json.dumps({"to": SERVICE}).encode() + b"\n"


class LeaseLost(Exception):
    """The stream has ended, or couldn't be opened: nobody has said why."""


class LeaseStream:
    """One stream: a request at a time, and notice of its end in between. Owns the socket."""

    def __init__(self, stream: socket.socket) -> None:
        stream.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._socket = stream
        self._lock = asyncio.Lock()
        self._received = b""
        # Others than a predecessor's, whose answers may still come and are passed over.
        self._numbers = itertools.count(time.time_ns() // 1000)

    def fileno(self) -> int:
        return self._socket.fileno()

    async def ask(self, request: Request) -> Answer:
        """Raises LeaseLost; PeerMisbehaved for an answer that is none."""
        async with self._lock:
            self._loop.remove_reader(self._socket)
            number = next(self._numbers)
            try:
                await self._loop.sock_sendall(self._socket, format_request(number, request))
                return await self._answer_to(number)
            except OSError as error:
                raise LeaseLost(str(error)) from error

    def watch(self, lost: Callable[[], None]) -> None:
        """Calls back once when the stream ends while nothing is asked."""
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket, self._readable, lost)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    async def _answer_to(self, number: int) -> Answer:
        while True:
            answered, answer = parse_answer(await self._line())
            if answered == number:
                return answer
            if isinstance(answer, Failed) and answered == 0:  # of the agent: the host side isn't there
                raise LeaseLost(answer.error.message)

    async def _line(self) -> bytes:
        while b"\n" not in self._received:
            data = await self._loop.sock_recv(self._socket, LONGEST_LINE)
            if not data:
                raise LeaseLost("the stream has ended")
            self._received += data
            if len(self._received) > 4 * LONGEST_LINE:
                raise PeerMisbehaved("a lease's answer is too long")
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _readable(self, lost: Callable[[], None]) -> None:
        """Whatever isn't the end is an answer that nobody waits for any more."""
        try:
            data = self._socket.recv(LONGEST_LINE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._socket)
            lost()


async def open_lease(path: str) -> LeaseStream:
    """Raises LeaseLost where nobody listens."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(stream, path)
        await asyncio.get_running_loop().sock_sendall(stream, _REQUEST)
        return LeaseStream(stream)
    except OSError as error:
        stream.close()
        raise LeaseLost(str(error)) from error
    except BaseException:
        stream.close()
        raise


class LeasedPort:
    """A HeldPort whose lease comes back by itself."""

    def __init__(
        self, gateway: LeaseGateway, container_id: str, record: PortRecord, stream: LeaseStream | None
    ) -> None:
        self._gateway = gateway
        self.container_id = container_id
        self.changed: Callable[[], None] = lambda: gateway.changed(container_id)
        self._record = record
        self._stream = stream
        self._address = self._address6 = ""
        self._work: asyncio.Task[None] | None = None
        self.trouble = ""  #: why it isn't held, as far as somebody has said so

    @property
    def record(self) -> PortRecord:
        return self._record

    def fileno(self) -> int:
        return self._stream.fileno() if self._stream else -1

    async def serve(self, address: str, address6: str = "") -> None:
        self._address, self._address6 = address, address6
        if self._stream is None:
            return  # it is being bound, and will be served
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._serve(self._stream)
        except LeaseLost:
            self.lost()
        except TimeoutError:
            raise Unavailable("the machine's host side doesn't serve a published port in time") from None

    def resume(self, address: str, address6: str = "") -> None:
        self._address, self._address6 = address, address6
        if self._stream is not None:
            self._start(self._resume())

    async def release(self) -> None:
        self._stop_work()
        stream, self._stream = self._stream, None
        self._gateway.forget(self)
        if stream is None:
            return
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await stream.ask(Release())
        except (LeaseLost, TimeoutError, HostvmError):
            pass  # its end releases it as well
        finally:
            stream.close()

    def close(self) -> None:
        self._stop_work()
        self._gateway.forget(self)
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def lost(self) -> None:
        """Bind again, and again, until it is held."""
        self._drop_stream()
        self._start(self._bind_again())

    def watch(self) -> None:
        if self._stream is not None:
            self._stream.watch(self.lost)

    def _drop_stream(self) -> None:
        """The holder has to let go of it as well: its copy would keep the port from whoever asks anew."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            self.changed()

    def _start(self, work: Coroutine[object, object, None]) -> None:
        self._stop_work()
        self._work = asyncio.get_running_loop().create_task(work)

    def _stop_work(self) -> None:
        if self._work is not None and self._work is not asyncio.current_task():
            self._work.cancel()
        self._work = None

    async def _serve(self, stream: LeaseStream) -> None:
        raise_failure(await stream.ask(Serve(self._address, self._record.container_port.number, self._address6)))
        stream.watch(self.lost)

    async def _resume(self) -> None:
        try:
            await self.serve(self._address, self._address6)
        except HostvmError as failure:
            self.trouble = failure.message
            self.lost()

    async def _bind_again(self) -> None:
        while True:
            if await self._gateway.in_turn(self._try_to_bind):
                return
            await asyncio.sleep(REFUSED_PAUSE)

    async def _try_to_bind(self) -> bool:
        """False where the host side refuses. Raises LeaseLost and OSError where nobody answers."""
        try:
            await self._bind_once()
        except HostvmError as failure:
            self.trouble = failure.message
            self._drop_stream()
            return False
        except (LeaseLost, OSError):  # TimeoutError is one
            self.trouble = "the machine's host side doesn't answer"
            self._drop_stream()
            raise
        return True

    async def _bind_once(self) -> None:
        record = self._record
        binding = PortBinding(record.container_port, record.host_ip, record.host_port)
        async with asyncio.timeout(ANSWER_SECONDS):
            self._stream, _ = await self._gateway.bind(binding, self.container_id, "that is being restored")
            self.changed()
            if self._address:
                await self._serve(self._stream)
        self.trouble = ""
        self.watch()


class LeaseGateway:
    """The PortGateway of an engine inside a machine; `path` is the agent's socket."""

    def __init__(self, path: str) -> None:
        self.changed: Callable[[str], None] = _ignore
        self._path = path
        self._ports: set[LeasedPort] = set()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._is_away = False
        self._probing = asyncio.Lock()

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(sorted(_warning(one) for one in self._ports if one.trouble))

    async def hold(self, bindings: Sequence[PortBinding], container_id: str, endpoint: str) -> list[HeldPort]:
        held: list[HeldPort] = []
        try:
            for wave in plan_waves(bindings):
                held += await self._hold_wave(wave, container_id, endpoint)
        except BaseException:
            await asyncio.gather(*(one.release() for one in held))
            raise
        return held

    def take_back(self, fd: int, record: PortRecord, container_id: str) -> LeasedPort:
        return self._know(LeasedPort(self, container_id, record, LeaseStream(socket.socket(fileno=fd))))

    def restore(self, bindings: Sequence[PortBinding], container_id: str) -> tuple[list[HeldPort], list[HostvmError]]:
        return [self.expect(binding, container_id) for binding in bindings], []

    def expect(self, binding: PortBinding, container_id: str) -> LeasedPort:
        """A fixed port that is bound in the background, however long that takes."""
        record = PortRecord(binding.container_port, binding.host_ip, binding.host_port, any_ipv6=not binding.host_ip)
        one = self._know(LeasedPort(self, container_id, record, None))
        one.lost()
        return one

    def forget(self, one: LeasedPort) -> None:
        self._ports.discard(one)

    async def bind(self, binding: PortBinding, container_id: str, endpoint: str) -> tuple[LeaseStream, Bound]:
        """One try. Raises LeaseLost, and what the host side answers in docker's words."""
        port = binding.container_port
        request = Bind(port.protocol, binding.host_ip, binding.host_port, binding.host_port_end, container_id)
        async with self._turns:
            stream = await open_lease(self._path)
            try:
                return stream, bound(await stream.ask(request), binding, endpoint)
            except BaseException:
                stream.close()
                raise

    async def in_turn(self, attempt: Callable[[], Awaitable[bool]]) -> bool:
        """Until it comes to a decision. While the host side is away, one asks for all, and the others wait for it."""
        while True:
            if not self._is_away:
                try:
                    return await attempt()
                except (LeaseLost, OSError):
                    self._is_away = True
            async with self._probing:
                if self._is_away:
                    return await self._probe(attempt)

    async def _probe(self, attempt: Callable[[], Awaitable[bool]]) -> bool:
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                decision = await attempt()
            except (LeaseLost, OSError):
                continue
            self._is_away = False
            return decision

    async def _hold_wave(self, wave: list[PortBinding], container_id: str, endpoint: str) -> list[LeasedPort]:
        """All at once: each of a range of a thousand ports is a round trip."""
        tries = [asyncio.ensure_future(self._hold_one(one, container_id, endpoint)) for one in wave]
        try:
            return list(await asyncio.gather(*tries))
        except BaseException:
            for one in tries:
                one.cancel()
            done = await asyncio.gather(*tries, return_exceptions=True)
            await asyncio.gather(*(one.release() for one in done if isinstance(one, LeasedPort)))
            raise

    async def _hold_one(self, binding: PortBinding, container_id: str, endpoint: str) -> LeasedPort:
        check_address(binding.host_ip)
        stream, answer = await self._bind_in_time(binding, container_id, endpoint)
        record = PortRecord(binding.container_port, answer.host_ip, answer.host_port, answer.any_ipv6)
        one = self._know(LeasedPort(self, container_id, record, stream))
        one.watch()
        return one

    async def _bind_in_time(self, binding: PortBinding, container_id: str, endpoint: str) -> tuple[LeaseStream, Bound]:
        """A host side that is being replaced is waited for."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while True:
                    try:
                        return await self.bind(binding, container_id, endpoint)
                    except LeaseLost:
                        await asyncio.sleep(FIRST_PAUSE)
        except TimeoutError:
            raise Unavailable("the machine's host side doesn't answer: no port can be published") from None

    def _know(self, one: LeasedPort) -> LeasedPort:
        self._ports.add(one)
        return one


def bound(answer: Answer, binding: PortBinding, endpoint: str) -> Bound:
    """Raises what the answer says instead."""
    if isinstance(answer, Refused):
        raise refusal(binding, answer.errno, answer.address, endpoint, answer.hint)
    raise_failure(answer)
    if not isinstance(answer, Bound):
        raise PeerMisbehaved("the machine's host side hasn't said which port it holds")
    return answer


def raise_failure(answer: Answer) -> None:
    if isinstance(answer, Failed):
        raise answer.error
    if isinstance(answer, Refused):
        raise HostFailed(f"the machine's host refused: {os.strerror(answer.errno)}")


def _warning(one: LeasedPort) -> str:
    record = one.record
    where = f"{record.host_ip or '*'}:{record.host_port}/{record.container_port.protocol}"
    return f"port {where} of container {one.container_id[:12]} isn't published: {one.trouble}; it is tried again"


def _ignore(_container_id: str) -> None:
    pass
