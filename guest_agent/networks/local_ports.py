"""Ports of the very host that the engine runs on: listening sockets of ours, relayed where the firewall's maps don't
reach."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from guest_agent.networks.datagrams import DatagramRelay
from guest_agent.networks.gateway import HeldPort
from guest_agent.networks.ports import PortRecord, check_address, refusal
from guest_agent.networks.streams import StreamRelay, Target, Targets
from guest_agent.wire.errors import HostvmError
from guest_agent.wire.listening import PortRefused, hold_port
from guest_agent.wire.models import PortBinding, Protocol


class LocalPort:
    """A listening socket, and the relay that serves it."""

    def __init__(self, listener: socket.socket, record: PortRecord, buffer: bytearray) -> None:
        self._socket = listener
        self._record = record
        self._buffer = buffer
        self._relay: StreamRelay | DatagramRelay | None = None

    @property
    def record(self) -> PortRecord:
        return self._record

    def fileno(self) -> int:
        return self._socket.fileno()

    async def serve(self, address: str, address6: str = "") -> None:
        self.resume(address, address6)

    def resume(self, address: str, address6: str = "") -> None:
        if self._relay is not None:
            return
        port = self._record.container_port
        targets = _targets(port.number, address, address6)
        if port.protocol is Protocol.TCP:
            self._relay = StreamRelay(self._socket, targets, self._buffer)
        else:
            self._relay = DatagramRelay(self._socket, targets)

    async def release(self) -> None:
        """Nobody gets in any more, although the holder may have its copy for another moment."""
        with suppress(OSError):  # UDP isn't connected
            self._socket.shutdown(socket.SHUT_RDWR)
        self.close()

    def close(self) -> None:
        if self._relay is not None:
            self._relay.close()
            self._relay = None
        self._socket.close()


class LocalGateway:
    """The PortGateway of an engine on the host itself."""

    def __init__(self, buffer: bytearray) -> None:
        self.changed: Callable[[str], None] = _ignore
        self._buffer = buffer

    @property
    def warnings(self) -> tuple[str, ...]:
        return ()

    async def hold(self, bindings: Sequence[PortBinding], container_id: str, endpoint: str) -> list[HeldPort]:
        held: list[HeldPort] = []
        try:
            for binding in bindings:
                held.append(self._hold(binding, endpoint))
        except BaseException:
            for one in held:
                one.close()
            raise
        return held

    def take_back(self, fd: int, record: PortRecord, container_id: str) -> HeldPort:
        return LocalPort(socket.socket(fileno=fd), record, self._buffer)

    def restore(self, bindings: Sequence[PortBinding], container_id: str) -> tuple[list[HeldPort], list[HostvmError]]:
        held: list[HeldPort] = []
        failures: list[HostvmError] = []
        for binding in bindings:
            try:
                held.append(self._hold(binding, "that is being restored"))
            except HostvmError as failure:
                failures.append(failure)
        return held, failures

    def _hold(self, binding: PortBinding, endpoint: str) -> LocalPort:
        """The first free port that the binding allows."""
        check_address(binding.host_ip)
        failure = PortRefused(errno.EADDRINUSE, binding.host_ip)
        for port in range(binding.host_port, max(binding.host_port, binding.host_port_end) + 1):
            try:
                return self._hold_one(binding, port)
            except PortRefused as refused:
                failure = refused
                if refused.errno != errno.EADDRINUSE:
                    break
        raise refusal(binding, failure.errno, failure.address, endpoint)

    def _hold_one(self, binding: PortBinding, port: int) -> LocalPort:
        one = hold_port(binding.host_ip, binding.container_port.protocol is Protocol.UDP, port)
        both = not binding.host_ip and one.family == socket.AF_INET6
        record = PortRecord(binding.container_port, binding.host_ip, one.getsockname()[1], both)
        return LocalPort(one, record, self._buffer)


def _targets(port: int, address: str, address6: str) -> Targets:
    """Who comes by IPv6 is led on by it, as dockerd does; where nobody listens there, which is the end of it for
    dockerd, by IPv4.
    """
    plain: list[Target] = [(address, port)]
    both = [(address6, port), *plain] if address6 else plain
    return lambda client: plain if "." in client else both


def _ignore(_container_id: str) -> None:
    pass
