"""Ports to publish: which host ports are tried for a binding, and the sockets that hold them.

Every published port is a bound (and, for TCP, listening) socket of ours from before the container is made until after
it is gone. That is what makes a taken port an error at once, and keeps others off it. A port of every address is one
socket for IPv4 and IPv6 alike.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from guest_agent.wire.errors import AddressInUse, HostFailed, InvalidArgument
from guest_agent.wire.models import ContainerPort, PortBinding, Protocol, PublishedPort

ANY_IPV4, ANY_IPV6 = "0.0.0.0", "::"
#: net.core.somaxconn's default since Linux 5.4: the kernel cuts it down where that is smaller.
BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class HeldPort:
    """A socket on the host and what it is for. `host_ip` "" is every address of both families."""

    socket: socket.socket
    container_port: ContainerPort
    host_ip: str
    host_port: int

    @property
    def published(self) -> tuple[PublishedPort, ...]:
        addresses = [self.host_ip] if self.host_ip else [ANY_IPV4, *self._any_ipv6()]
        return tuple(PublishedPort(self.container_port, address, self.host_port) for address in addresses)

    def _any_ipv6(self) -> list[str]:
        return [ANY_IPV6] if self.socket.family == socket.AF_INET6 else []

    def close(self) -> None:
        """May be called twice."""
        self.socket.close()


def plan_order(bindings: Iterable[PortBinding]) -> list[PortBinding]:
    """Fixed ports first, then ranges, then what the kernel chooses, so that none takes what another one needs."""
    return sorted(dict.fromkeys(bindings), key=lambda one: (one.host_port == 0, one.host_port_end != 0))


def hold_port(binding: PortBinding, endpoint: str) -> HeldPort:
    """The first free port that the binding allows.

    Raises AddressInUse in docker's words when there is none; `endpoint` is how those name the container.
    """
    _check_address(binding.host_ip)
    failure = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    for port in range(binding.host_port, max(binding.host_port, binding.host_port_end) + 1):
        try:
            return _bind(binding, port)
        except OSError as refusal:
            failure = refusal
            if refusal.errno != errno.EADDRINUSE:
                break
    raise _refused(binding, failure, endpoint)


def parse_note(note: str, fds: list[int]) -> list[HeldPort]:
    """The held ports that a predecessor wrote down with `format_note`; takes the descriptors over."""
    ports = []
    for fd, (number, protocol, host_ip, host_port) in zip(fds, json.loads(note), strict=True):
        container_port = ContainerPort(number, Protocol(protocol))
        ports.append(HeldPort(socket.socket(fileno=fd), container_port, host_ip, host_port))
    return ports


def format_note(ports: Iterable[HeldPort]) -> str:
    return json.dumps([(p.container_port.number, p.container_port.protocol, p.host_ip, p.host_port) for p in ports])


def _check_address(host_ip: str) -> None:
    try:
        if host_ip:
            ip_address(host_ip)
    except ValueError:
        raise InvalidArgument(f"invalid IP address {host_ip!r}", hint="publish on an address of this host") from None


def _bind(binding: PortBinding, port: int) -> HeldPort:
    one = _open(binding.host_ip, binding.container_port.protocol, port)
    return HeldPort(one, binding.container_port, binding.host_ip, one.getsockname()[1])


def _open(host_ip: str, protocol: Protocol, port: int) -> socket.socket:
    """ "" is tried for both families in one socket, and for IPv4 alone where the host has no IPv6."""
    if host_ip:
        return _open_one(socket.AF_INET6 if ":" in host_ip else socket.AF_INET, host_ip, protocol, port, only_v6=True)
    try:
        return _open_one(socket.AF_INET6, ANY_IPV6, protocol, port, only_v6=False)
    except OSError as failure:
        if failure.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return _open_one(socket.AF_INET, ANY_IPV4, protocol, port, only_v6=False)


def _open_one(family: int, address: str, protocol: Protocol, port: int, *, only_v6: bool) -> socket.socket:
    kind = socket.SOCK_STREAM if protocol is Protocol.TCP else socket.SOCK_DGRAM
    one = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_v6))
        if protocol is Protocol.TCP:  # past connections in TIME_WAIT are no reason to refuse
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((address, port))
        if protocol is Protocol.TCP:
            one.listen(BACKLOG)
    except BaseException:
        one.close()
        raise
    return one


def _refused(binding: PortBinding, failure: OSError, endpoint: str) -> AddressInUse | HostFailed:
    message = (
        f"driver failed programming external connectivity on endpoint {endpoint}: "
        f"Error starting userland proxy: {_listen_text(binding, failure)}"
    )
    if failure.errno == errno.EADDRINUSE:
        return AddressInUse(message, hint=_taken_hint(binding))
    if failure.errno == errno.EADDRNOTAVAIL:
        return HostFailed(message, hint=f"no interface of this host has the address {binding.host_ip}")
    return HostFailed(message)


def _listen_text(binding: PortBinding, failure: OSError) -> str:
    """As Go's net package says it: `listen tcp4 0.0.0.0:80: bind: address already in use`."""
    host_ip = binding.host_ip or _refusing_any(binding)
    family, shown = (6, f"[{host_ip}]") if ":" in host_ip else (4, host_ip)
    reason = os.strerror(failure.errno or 0)
    reason = reason[:1].lower() + reason[1:]
    if failure.errno == errno.EADDRNOTAVAIL:
        reason = "cannot assign requested address"
    return f"listen {binding.container_port.protocol}{family} {shown}:{binding.host_port}: bind: {reason}"


def _refusing_any(binding: PortBinding) -> str:
    """Which of the two families refused, for a binding to every address."""
    try:
        protocol = binding.container_port.protocol
        _open_one(socket.AF_INET, ANY_IPV4, protocol, binding.host_port, only_v6=False).close()
    except OSError:
        return ANY_IPV4
    return ANY_IPV6


def _taken_hint(binding: PortBinding) -> str:
    letter = "t" if binding.container_port.protocol is Protocol.TCP else "u"
    port, target = binding.host_port, binding.container_port.number
    suffix = "" if binding.container_port.protocol is Protocol.TCP else "/udp"
    return (
        f"`ss -{letter}lnp sport = :{port}` shows who has it; or publish another port: "
        f"-p {port + 1 if port < 65535 else port - 1}:{target}{suffix}"
    )
