"""The ports of this host that a machine's engine has leased (guest_agent/wire/leases.py).

Theory of operation. A lease is a stream that the guest has opened; the port is held as long as it lives. When the guest
ends the stream the port is free at once. When the stream is *lost* (the agent was started again, the machine is being
suspended) the socket is kept: nobody else gets the port meanwhile, whoever comes waits in the backlog, and the first
`bind` for the same container, protocol, address and port takes it over. While the machine is suspended whoever comes
wakes it. What nobody has taken over a while after the loss, or after the machine is back, is closed.

The guest isn't trusted: every line is checked, the number of ports is limited, and nothing but binding can be asked.
"""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from guest_agent.wire.errors import Conflict, Forbidden, HostvmError, PeerMisbehaved, Unavailable
from guest_agent.wire.leases import (
    LONGEST_LINE,
    Answer,
    Bind,
    Bound,
    Done,
    Failed,
    Refused,
    Release,
    Request,
    Serve,
    format_answer,
    parse_request,
)
from guest_agent.wire.listening import PortRefused, hold_port
from guest_agent.wire.models import Protocol
from hostvm.forward.contracts import Channel, Stream
from hostvm.forward.flows import DatagramListener
from hostvm.forward.listeners import Listener, StreamListener
from hostvm.forward.rules import PortRules, find_denial, permits, plan_bind, plan_ports

#: Ports of one machine: each is a descriptor, and a range of a thousand fits twice.
MOST_PORTS = 2048
#: Leases that hold no port (yet): a hostile guest could open streams for ever.
_MOST_IDLE = 256
#: Seconds that a lost port is kept: an engine asks again within half a second, a guest under TCG is slower.
GRACE_SECONDS = 15.0
#: Tries for a port of the kernel's choice that the rules permit.
_MOST_CHOICES = 64


class PortState(StrEnum):
    HELD = "held"  #: whoever comes waits
    SERVING = "serving"
    LOST = "lost"  #: kept until it is taken over


@dataclass(frozen=True, slots=True)
class PortKey:
    """By what a port is known; `host_ip` "" is every address."""

    container: str
    protocol: Protocol
    host_ip: str
    host_port: int


class HeldPort:
    """A listener, and what is known of it."""

    def __init__(self, key: PortKey, listener: Listener) -> None:
        self.key = key
        self.listener = listener
        self.state = PortState.HELD
        self.target = ""
        self.stream: Stream | None = None
        self.deadline: asyncio.TimerHandle | None = None

    @property
    def any_ipv6(self) -> bool:
        return not self.key.host_ip and ":" in self.listener.socket.getsockname()[0]

    def describe(self) -> dict[str, object]:
        """For `machine inspect`."""
        key = self.key
        return {
            "container": key.container, "protocol": str(key.protocol), "host_ip": key.host_ip,
            "host_port": key.host_port, "state": str(self.state), "target": self.target,
            "connections": self.listener.connections,
        }  # fmt: skip


class PortTable:
    """One machine's ports. `wake` is called when somebody connects to a suspended machine; it must not block."""

    def __init__(self, channel: Channel, rules: PortRules, wake: Callable[[], None] = lambda: None) -> None:
        self._channel = channel
        self._rules = rules
        self._wake = wake
        self._ports: dict[PortKey, HeldPort] = {}
        self._leases = 0
        self._is_suspended = False

    # -- the machine's life

    def suspend(self) -> None:
        """Before the channel is frozen: ports that get lost from here on are kept, and wake the machine."""
        self._is_suspended = True

    def resume(self) -> None:
        """The machine is back (or its suspension failed): the engine takes its ports over, for a while."""
        self._is_suspended = False
        for port in self._ports.values():
            if port.state is PortState.LOST:
                self._keep(port)

    def abandon(self) -> None:
        """The machine has ended: what its engine has lost won't be asked for again."""
        self._is_suspended = False
        for port in [one for one in self._ports.values() if one.state is PortState.LOST]:
            self._close(port)

    def close(self) -> None:
        """Every port is free."""
        for port in list(self._ports.values()):
            self._close(port)

    def set_rules(self, rules: PortRules) -> None:
        """From here on. Ports that these don't permit are closed, and their containers run without."""
        self._rules = rules
        for port in list(self._ports.values()):
            if not permits(rules, port.key.protocol, port.key.host_ip, port.key.host_port):
                self._close(port)
                if port.stream is not None:
                    port.stream.reset()

    @property
    def connections(self) -> int:
        """How many are connected by any of the ports: a machine that serves somebody isn't idle."""
        return sum(port.listener.connections for port in self._ports.values())

    def status(self) -> list[dict[str, object]]:
        ordered = sorted(self._ports.values(), key=lambda one: (one.key.host_port, str(one.key)))
        return [port.describe() for port in ordered]

    # -- leases

    async def handle_lease(self, request: dict[str, object], stream: Stream) -> None:
        """A stream that the guest has opened with {"to": "ports"}; returns at its end. Raises PeerMisbehaved."""
        del request
        if self._leases - len(self._ports) >= _MOST_IDLE:
            raise Unavailable("too many leases that hold no port")
        lease = Lease(self, stream)
        self._leases += 1
        try:
            await lease.run()
        finally:
            self._leases -= 1
            lease.finish()

    def obtain(self, asked: Bind) -> HeldPort:
        """A port that was lost, or a free one. Raises PortRefused and HostvmError."""
        wanted = plan_bind(self._rules, asked)
        candidates = plan_ports(self._rules, wanted)
        kept = self._ports.get(PortKey(wanted.container, wanted.protocol, wanted.host_ip, candidates[0]))
        if kept is not None and kept.state is PortState.LOST and not wanted.port_end:
            return self._take_over(kept)
        if len(self._ports) >= MOST_PORTS:
            raise Unavailable(f"the machine holds {MOST_PORTS} ports of this host already")
        port = self._open(wanted, candidates)
        self._ports[port.key] = port
        return port

    def serve(self, port: HeldPort, asked: Serve) -> None:
        port.state = PortState.SERVING
        port.target = f"[{asked.address}]:{asked.port}" if ":" in asked.address else f"{asked.address}:{asked.port}"
        request = {"to": str(port.key.protocol), "address": asked.address, "port": asked.port}
        port.listener.serve(self._channel, request | ({"first": asked.address6} if asked.address6 else {}))

    def release(self, port: HeldPort) -> None:
        self._close(port)

    def lose(self, port: HeldPort) -> None:
        """Its stream was reset: whoever is connected was cut off with it."""
        if self._ports.get(port.key) is port:
            port.state = PortState.LOST
            port.stream = None
            self._keep(port)

    def _keep(self, port: HeldPort) -> None:
        if port.deadline is not None:
            port.deadline.cancel()
            port.deadline = None
        if self._is_suspended:
            port.listener.pause(self._wake)
            return
        port.listener.pause()
        port.deadline = asyncio.get_running_loop().call_later(GRACE_SECONDS, self._close, port)

    def _take_over(self, port: HeldPort) -> HeldPort:
        if port.deadline is not None:
            port.deadline.cancel()
            port.deadline = None
        port.listener.pause()
        port.state = PortState.HELD
        return port

    def _close(self, port: HeldPort) -> None:
        if port.deadline is not None:
            port.deadline.cancel()
        port.listener.close()
        if self._ports.get(port.key) is port:
            del self._ports[port.key]

    def _open(self, wanted: Bind, candidates: list[int]) -> HeldPort:
        refused = PortRefused(errno.EADDRINUSE, wanted.host_ip or "0.0.0.0")
        for port in candidates:
            try:
                return self._open_one(wanted, port)
            except PortRefused as refusal:
                refused = refusal
                if refusal.errno != errno.EADDRINUSE:
                    break
        raise refused

    def _open_one(self, wanted: Bind, port: int) -> HeldPort:
        udp = wanted.protocol is Protocol.UDP
        for _ in range(_MOST_CHOICES):
            listener = hold_port(wanted.host_ip, udp, port)
            key = PortKey(wanted.container, wanted.protocol, wanted.host_ip, listener.getsockname()[1])
            if find_denial(self._rules, key.protocol, key.host_port) is None:
                return HeldPort(key, DatagramListener(listener) if udp else StreamListener(listener))
            listener.close()
        raise Forbidden("the machine's rules permit none of the ports that the host offers")


class Lease:
    """One stream, and the port that it holds once it has asked for one."""

    def __init__(self, table: PortTable, stream: Stream) -> None:
        self._table = table
        self._stream = stream
        self._port: HeldPort | None = None
        self._is_lost = False

    async def run(self) -> None:
        """Until the guest ends it. Raises PeerMisbehaved for what isn't a request."""
        while line := await self._next():
            if len(line) > LONGEST_LINE:
                raise PeerMisbehaved("a lease's request is too long")
            number, request = parse_request(line)
            if not await self._say(format_answer(number, self._obey(request))):
                return

    def finish(self) -> None:
        port, self._port = self._port, None
        if port is not None and self._is_lost:
            self._table.lose(port)
        elif port is not None:
            self._table.release(port)

    async def _next(self) -> bytes:
        """b"" at the end, also where the stream was reset; a line that was cut off doesn't count."""
        try:
            line = await self._stream.readline()
        except PeerMisbehaved:
            raise
        except HostvmError:
            self._is_lost = True
            return b""
        return line if line.endswith(b"\n") else b""

    async def _say(self, answer: bytes) -> bool:
        try:
            self._stream.write(answer)
            await self._stream.drain()
        except HostvmError:
            self._is_lost = True
        return not self._is_lost

    def _obey(self, request: Request) -> Answer:
        try:
            return self._do(request)
        except PortRefused as refused:
            return Refused(refused.errno, refused.address, refusal_hint(refused.errno, request))
        except HostvmError as error:
            return Failed(error)

    def _do(self, request: Request) -> Answer:
        match request:
            case Bind():
                return self._bind(request)
            case Serve():
                self._table.serve(self._held(), request)
            case Release():
                port, self._port = self._port, None
                if port is not None:
                    self._table.release(port)
        return Done()

    def _bind(self, request: Bind) -> Bound:
        if self._port is not None:
            raise Conflict("this lease holds a port already")
        port = self._port = self._table.obtain(request)
        port.stream = self._stream
        return Bound(port.key.host_port, port.key.host_ip, port.any_ipv6)

    def _held(self) -> HeldPort:
        if self._port is None:
            raise Conflict("this lease holds no port")
        return self._port


def refusal_hint(code: int, request: Request, platform: str = sys.platform) -> str:
    """What the user can do on this host; "" where the engine's own hint says it."""
    if not isinstance(request, Bind):
        return ""
    if code == errno.EACCES:
        return _privileged_hint(request.port, platform)
    if code == errno.EADDRINUSE and platform == "darwin":
        kind = str(request.protocol).upper()
        return f"`lsof -nP -i{kind}:{request.port}` shows who has it; or publish another port"
    return ""


def _privileged_hint(port: int, platform: str) -> str:
    if platform == "darwin":
        return "ports below 1024 of a single address are root's: publish it without an address, or another port"
    return (
        f"ports below 1024 are root's on this host: publish another one, or permit it: "
        f"sudo sysctl net.ipv4.ip_unprivileged_port_start={port}"
    )
