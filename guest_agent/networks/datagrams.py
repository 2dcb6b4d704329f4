"""UDP from a held socket to a container, for what address translation doesn't reach (IPv6 foremost).

Each client (and the address of ours that it wrote to) is a flow with its own socket to the container, so that answers
find their way back; they are sent from the very address that was written to. A flow that is silent is forgotten.
"""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable

from guest_agent.wire.listening import ask_for_destination

#: docker-proxy's UDPConnTrackTimeout.
IDLE_SECONDS = 90.0
#: A quarter of the usual descriptor limit (1024): the flow that was silent longest makes room.
MOST_FLOWS = 256
#: Datagrams handled before other work of the loop gets its turn.
BURST = 64
LARGEST = 65535
_ANCILLARY = 64

Address = tuple[object, ...]
Key = tuple[Address, bytes]


class DatagramRelay:
    """Serves a bound socket, which stays the caller's. Must be made and used on the loop's thread."""

    def __init__(self, listener: socket.socket, target: Callable[[], tuple[str, int]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._target = target
        self._flows: OrderedDict[Key, _Flow] = OrderedDict()
        listener.setblocking(False)
        self._info = ask_for_destination(listener)
        self._loop.add_reader(listener, self._readable)

    def close(self) -> None:
        """Forgets every flow; may be called twice."""
        self._loop.remove_reader(self._listener)
        while self._flows:
            self._forget(next(iter(self._flows)))

    def _readable(self) -> None:
        for _ in range(BURST):
            try:
                data, ancillary, _, client = self._listener.recvmsg(LARGEST, _ANCILLARY)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an ICMP error of an earlier answer
            self._from_client(data, (client, self._destination(ancillary)))

    def _destination(self, ancillary: list[tuple[int, int, bytes]]) -> bytes:
        return next((payload for level, kind, payload in ancillary if (level, kind) == self._info), b"")

    def _from_client(self, data: bytes, key: Key) -> None:
        try:
            flow = self._flows.get(key) or self._open(key)
            self._flows.move_to_end(key)
            flow.last = self._loop.time()
            flow.socket.send(data)
        except (BlockingIOError, InterruptedError, ConnectionRefusedError):
            pass  # UDP may lose what nobody takes
        except OSError:
            self._forget(key)

    def _open(self, key: Key) -> _Flow:
        if len(self._flows) >= MOST_FLOWS:
            self._forget(next(iter(self._flows)))
        flow = _Flow(self._target())
        self._flows[key] = flow
        self._loop.add_reader(flow.socket, self._from_container, key, flow)
        flow.timer = self._loop.call_later(IDLE_SECONDS, self._expire, key, flow)
        return flow

    def _from_container(self, key: Key, flow: _Flow) -> None:
        client, destination = key
        ancillary = [(*self._info, destination)] if self._info and destination else []
        try:
            data = flow.socket.recv(LARGEST)
            flow.last = self._loop.time()
            self._listener.sendmsg([data], ancillary, 0, client)
        except OSError:
            pass  # refused by the container, or the client is gone: the flow's own timer ends it

    def _expire(self, key: Key, flow: _Flow) -> None:
        left = flow.last + IDLE_SECONDS - self._loop.time()
        if left <= 0:
            self._forget(key)
        else:
            flow.timer = self._loop.call_later(left, self._expire, key, flow)

    def _forget(self, key: Key) -> None:
        flow = self._flows.pop(key, None)
        if flow is not None:
            self._loop.remove_reader(flow.socket)
            flow.close()


class _Flow:
    def __init__(self, target: tuple[str, int]) -> None:
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.last = 0.0
        self.timer: asyncio.TimerHandle | None = None
        try:
            self.socket.connect(target)
        except BaseException:
            self.socket.close()
            raise

    def close(self) -> None:
        if self.timer:
            self.timer.cancel()
        self.socket.close()
