"""UDP from a held socket to a container, for what address translation doesn't reach (IPv6 foremost).

Each client (and the address of ours that it wrote to) is a flow with its own socket to the container, so that answers
find their way back; they are sent from the very address that was written to. A flow that is silent is forgotten. One
whose target refuses before it has answered goes on with the next target. One that the last target has refused is
forgotten: the client is led to the first again, where somebody may listen by then.
"""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Sequence

from guest_agent.networks.streams import Target, Targets
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

    def __init__(self, listener: socket.socket, targets: Targets) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._targets = targets
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
            self._deliver(data, (client, self._destination(ancillary)), self._targets(str(client[0])))

    def _destination(self, ancillary: list[tuple[int, int, bytes]]) -> bytes:
        return next((payload for level, kind, payload in ancillary if (level, kind) == self._info), b"")

    def _deliver(self, data: bytes, key: Key, targets: Sequence[Target]) -> None:
        """By the client's flow; `targets` are a new one's."""
        flow = self._flows.get(key)
        try:
            flow = flow or self._open(key, targets)
            self._flows.move_to_end(key)
            flow.last = self._loop.time()
            flow.send(data)
        except ConnectionRefusedError:  # which is about an earlier one
            self._refused(key, flow)
        except (BlockingIOError, InterruptedError):
            pass  # UDP may lose what nobody takes
        except OSError:
            self._forget(key)

    def _refused(self, key: Key, flow: _Flow | None) -> None:
        """Nobody listens: the next target gets what the client said last."""
        if flow is None:
            return
        self._forget(key)
        if flow.unheard:
            self._deliver(flow.unheard, key, flow.left)

    def _open(self, key: Key, targets: Sequence[Target]) -> _Flow:
        if len(self._flows) >= MOST_FLOWS:
            self._forget(next(iter(self._flows)))
        flow = _Flow(targets)
        self._flows[key] = flow
        self._loop.add_reader(flow.socket, self._from_container, key, flow)
        flow.timer = self._loop.call_later(IDLE_SECONDS, self._expire, key, flow)
        return flow

    def _from_container(self, key: Key, flow: _Flow) -> None:
        client, destination = key
        ancillary = [(*self._info, destination)] if self._info and destination else []
        try:
            data = flow.socket.recv(LARGEST)
            flow.last, flow.unheard = self._loop.time(), b""
            self._listener.sendmsg([data], ancillary, 0, client)
        except ConnectionRefusedError:
            self._refused(key, flow)
        except OSError:
            pass  # the client is gone: the flow's own timer ends it

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
    """`unheard` is what was sent last, as long as nobody has answered; `left` are the targets after this one."""

    def __init__(self, targets: Sequence[Target]) -> None:
        target, *self.left = targets
        self.unheard = b""
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.last = 0.0
        self.timer: asyncio.TimerHandle | None = None
        try:
            self.socket.connect(target)
        except BaseException:
            self.socket.close()
            raise

    def send(self, data: bytes) -> None:
        """Raises OSError, also for what was sent before."""
        self.unheard = data if self.left else b""
        self.socket.send(data)

    def close(self) -> None:
        if self.timer:
            self.timer.cancel()
        self.socket.close()
