"""The services that the host may ask for: each takes a request and connects the stream, or raises why it can't.

The host is trusted by its guest, so requests are only checked for their shape.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence

from guest_agent.agent.endpoints import ControlEndpoint, ProcessEndpoint, SocketEndpoint
from guest_agent.agent.flows import DatagramFlow
from guest_agent.agent.loop import WRITE, Loop
from guest_agent.agent.probes import Echo, Sink, Source
from guest_agent.wire.channel import Multiplexer
from guest_agent.wire.channel_receivers import Receiver
from guest_agent.wire.channel_stream import StreamEnd
from guest_agent.wire.errors import (
    CommandNotExecutable,
    CommandNotFound,
    HostvmError,
    InvalidArgument,
    Unavailable,
    Unsupported,
)
from guest_agent.wire.pump import Pump

Request = dict[str, object]
#: Where something listens: a path, or an address with a port.
Place = str | tuple[str, int]

ENGINE_SOCKET = "/run/hostvm/engine.sock"

#: Seconds for which an engine's socket may be missing: init starts a dead keeper again, which makes another one.
_ENGINE_PATIENCE = 30.0


class Services:
    """`control` is the socket to init."""

    def __init__(
        self, loop: Loop, mux: Multiplexer, control: socket.socket, engine_socket: str = ENGINE_SOCKET
    ) -> None:
        self._loop = loop
        self._mux = mux
        self._control = control
        self._controlled_by: Pump | None = None
        self._engine_socket = engine_socket
        self._table: dict[str, Callable[[StreamEnd, Request], None]] = {
            "engine": lambda stream, _request: self._reach_engine(stream, time.monotonic() + _ENGINE_PATIENCE),
            "unix": lambda stream, request: self._connect(stream, [text(request, "path")]),
            "tcp": self._tcp,
            "udp": self._udp,
            "command": self._command,
            "control": self._take_control,
            "echo": self._probe(Echo),
            "sink": self._probe(Sink),
            "source": self._probe(Source),
        }

    def serve(self, stream: StreamEnd, request: Request) -> None:
        """Accepts or refuses, now or when a connection stands."""
        name = str(request.get("to"))
        try:
            if name not in self._table:
                raise Unsupported(f"the guest has no service {name!r}")
            self._table[name](stream, request)
        except HostvmError as error:
            stream.reset(error)
        except OSError as error:
            stream.reset(explained(error))

    def _probe(self, kind: Callable[[StreamEnd], Receiver]) -> Callable[[StreamEnd, Request], None]:
        return lambda stream, _request: self._mux.adopt(stream, kind(stream))

    # -- connections

    def _reach_engine(self, stream: StreamEnd, deadline: float) -> None:
        """Nobody there is a keeper that has just died: it is waited for."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        failure = sock.connect_ex(self._engine_socket)
        if failure in (errno.ENOENT, errno.ECONNREFUSED) and stream.is_open and time.monotonic() < deadline:
            sock.close()
            self._loop.later(lambda: self._reach_engine(stream, deadline))
        else:
            self._begin(stream, sock, failure)

    def _tcp(self, stream: StreamEnd, request: Request) -> None:
        self._connect(stream, _targets(request))

    def _connect(self, stream: StreamEnd, places: Sequence[Place]) -> None:
        address = places[0]
        family = _family_of(address)
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        failure = sock.connect_ex(address)
        if failure == errno.EINPROGRESS:
            self._loop.watch(sock.fileno(), WRITE, lambda _events: self._connected(stream, sock, places[1:]))
        else:
            self._begin(stream, sock, failure, places[1:])

    def _connected(self, stream: StreamEnd, sock: socket.socket, others: Sequence[Place]) -> None:
        self._loop.watch(sock.fileno(), 0, ignore)
        self._begin(stream, sock, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), others)

    def _begin(self, stream: StreamEnd, sock: socket.socket, failure: int, others: Sequence[Place] = ()) -> None:
        if failure and others:
            sock.close()
            try:
                self._connect(stream, others)
            except OSError as error:
                stream.reset(explained(error))
            return
        if failure:
            sock.close()
            stream.reset(explained(OSError(failure, os.strerror(failure))))
            return
        endpoint = SocketEndpoint(self._loop, sock)
        endpoint.pump = Pump(endpoint, ignore_outcome)
        self._adopt(stream, endpoint.pump)

    def _adopt(self, stream: StreamEnd, pump: Pump) -> None:
        pump.begin(stream)
        self._mux.adopt(stream, pump)

    def _udp(self, stream: StreamEnd, request: Request) -> None:
        self._mux.adopt(stream, DatagramFlow(self._loop, _targets(request), stream))

    # -- processes

    def _command(self, stream: StreamEnd, request: Request) -> None:
        argv = command_line(request)
        child_in, stdin = os.pipe2(os.O_CLOEXEC)
        stdout, child_out = os.pipe2(os.O_CLOEXEC)
        try:
            pid = spawn(argv, environment(request), child_in, child_out)
        except OSError as error:
            os.close(stdin)
            os.close(stdout)
            raise unstarted(argv[0], error) from None
        finally:
            os.close(child_in)
            os.close(child_out)
        os.set_blocking(stdin, False)
        os.set_blocking(stdout, False)
        endpoint = ProcessEndpoint(self._loop, pid, stdin, stdout)
        endpoint.pump = Pump(endpoint, ignore_outcome)
        self._adopt(stream, endpoint.pump)

    # -- init

    def _take_control(self, stream: StreamEnd, _request: Request) -> None:
        """One at a time: who comes ends the one before. Half a line that it had sent is ended first."""
        if self._controlled_by is not None:
            self._controlled_by.abort()
        try:
            self._control.send(b"\n")
        except BlockingIOError:
            raise Unavailable("init doesn't read its control lines") from None
        endpoint = ControlEndpoint(self._loop, self._control)
        pump = endpoint.pump = Pump(endpoint, lambda _outcome: self._control_ended(pump))
        self._controlled_by = pump
        self._adopt(stream, pump)

    def _control_ended(self, pump: Pump) -> None:
        if self._controlled_by is pump:
            self._controlled_by = None


def spawn(argv: list[str], environ: dict[str, str], stdin: int, stdout: int) -> int:
    """Its pid; it leads a session of its own, with standard output and error in one."""
    places = ((stdin, 0), (stdout, 1), (stdout, 2))
    actions = [(os.POSIX_SPAWN_DUP2, descriptor, place) for descriptor, place in places]
    ignored = (signal.SIGPIPE, signal.SIGXFSZ)  # by Python, and a child would inherit that
    return os.posix_spawnp(argv[0], argv, environ, file_actions=actions, setsid=True, setsigdef=ignored)


def unstarted(program: str, error: OSError) -> HostvmError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return CommandNotFound(f"{program}: no such command in the machine")
    return CommandNotExecutable(f"{program}: {error.strerror}")


def command_line(request: Request) -> list[str]:
    """The argv, in the folder that was asked for: posix_spawn can't change it, the shell can."""
    argv = request.get("argv")
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
        raise InvalidArgument("argv must be a list of strings")
    folder = request.get("cwd")
    return ["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(folder), *argv] if folder else argv


def environment(request: Request) -> dict[str, str]:
    env = request.get("env") or {}
    if not isinstance(env, dict):
        raise InvalidArgument("env must be an object")
    return {**os.environ, **{str(name): str(value) for name, value in env.items()}}


def text(request: Request, name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"{name} must be a string")
    return value


def number(request: Request, name: str) -> int:
    value = request.get(name)
    if not isinstance(value, int) or not 0 < value < 1 << 16:
        raise InvalidArgument(f"{name} must be a port number")
    return value


def explained(error: OSError) -> Unavailable:
    """With the errno's name: the host tells a refused connection from a lost one by it."""
    return Unavailable(f"{errno.errorcode.get(error.errno or 0, 'EIO')}: {error.strerror}")


def ignore(_events: int) -> None: ...


def ignore_outcome(_outcome: dict[str, object] | HostvmError) -> None: ...


def _targets(request: Request) -> list[tuple[str, int]]:
    """Where nobody listens at the address that is to be tried `first`, it is the other one."""
    names = ("first", "address") if "first" in request else ("address",)
    return [(text(request, name), number(request, "port")) for name in names]


def _family_of(place: Place) -> int:
    if isinstance(place, str):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in place[0] else socket.AF_INET
