"""What pumps serve in the guest: sockets, the pipes of a process, the socket to init (see wire/pump.py, Endpoint)."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable

from guest_agent.agent.loop import HANG_UP, READ, WRITE, Loop
from guest_agent.wire.pump import Pump

#: struct linger: on, 0 seconds. Closing a TCP socket with it sends RST (socket(7)).
_LINGER_NOT = struct.pack("ii", 1, 0)


class SocketEndpoint:
    """A connected, non-blocking socket. `pump` is set by whoever makes the pump."""

    pump: Pump

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self._loop = loop
        self._socket = sock
        self._descriptor = sock.fileno()
        self.take: Callable[[memoryview], int] = sock.recv_into
        self.give: Callable[[memoryview], int] = sock.send

    def watch(self, reading: bool, writing: bool) -> None:
        self._loop.watch(self._descriptor, (READ if reading else 0) | (WRITE if writing else 0), self._ready)

    def half_close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the peer is gone already

    def close(self, abort: bool) -> None:
        if abort and self._socket.family in (socket.AF_INET, socket.AF_INET6):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._socket.close()

    def _ready(self, events: int) -> None:
        if events & (WRITE | HANG_UP):
            self.pump.writable_now()
        if events & (READ | HANG_UP):
            self.pump.readable()


class ControlEndpoint(SocketEndpoint):
    """The socket to init, which outlives every stream."""

    def half_close(self) -> None: ...

    def close(self, abort: bool) -> None: ...


class ProcessEndpoint:
    """A process's standard input, and its standard output and error in one; its end is the end of both."""

    pump: Pump

    def __init__(self, loop: Loop, pid: int, stdin: int, stdout: int) -> None:
        self._loop = loop
        self._pid = pid
        self._stdin = stdin
        self._stdout = stdout
        self._has_ended = self._output_ended = self._closed = False
        self._pidfd = os.pidfd_open(pid)
        loop.watch(self._pidfd, READ, self._ended)

    def take(self, room: memoryview) -> int:
        """What others that hold the pipe write after the process's end isn't waited for."""
        try:
            count = 0 if self._output_ended else os.readv(self._stdout, (room,))
        except BlockingIOError:
            if self._has_ended:
                return 0
            raise
        if self._has_ended:
            if count:
                self.pump.stream.schedule()  # there may be more, and nothing else will tell
            return count
        if count:
            return count
        self._output_ended = True
        self._loop.watch(self._stdout, 0, self._readable)
        raise BlockingIOError  # the exit status comes first

    def give(self, view: memoryview) -> int:
        if self._stdin < 0:
            raise BrokenPipeError
        return os.write(self._stdin, view)

    def watch(self, reading: bool, writing: bool) -> None:
        if not self._output_ended:
            self._loop.watch(self._stdout, READ if reading else 0, self._readable)
        if self._stdin >= 0:
            self._loop.watch(self._stdin, WRITE if writing else 0, self._writable)

    def half_close(self) -> None:
        if self._stdin >= 0:
            self._loop.watch(self._stdin, 0, self._writable)
            os.close(self._stdin)
            self._stdin = -1

    def close(self, abort: bool) -> None:
        """A process that nobody listens to any more is ended, with what it has started."""
        self._closed = True
        self.half_close()
        self._loop.watch(self._stdout, 0, self._readable)
        os.close(self._stdout)
        if not self._has_ended:
            try:
                os.killpg(self._pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it has just ended, and is reaped in the loop's next turn

    def _ended(self, _events: int) -> None:
        self._loop.watch(self._pidfd, 0, self._ended)
        os.close(self._pidfd)
        _pid, status = os.waitpid(self._pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._has_ended = True
        self.pump.closing = {"exit": code if code >= 0 else 128 - code}
        if not self._closed:
            self.pump.readable()

    def _readable(self, _events: int) -> None:
        self.pump.readable()

    def _writable(self, _events: int) -> None:
        self.pump.writable_now()
