"""Ports to publish: in which order they are asked for, what is held for each, and docker's words for a refusal.

Every published port is held from before the container is made until after it is gone. That is what makes a taken port
an error at once, and keeps others off it. Where it is held, and how it leads to the container, is a `PortGateway`'s.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from guest_agent.wire.errors import AddressInUse, HostFailed, HostvmError, InvalidArgument
from guest_agent.wire.listening import ANY_IPV4, ANY_IPV6
from guest_agent.wire.models import ContainerPort, PortBinding, Protocol, PublishedPort


@dataclass(frozen=True, slots=True)
class PortRecord:
    """What is held. `host_ip` "" is every address: of both families if `any_ipv6`, else of IPv4."""

    container_port: ContainerPort
    host_ip: str
    host_port: int
    any_ipv6: bool = False

    @property
    def published(self) -> tuple[PublishedPort, ...]:
        addresses = [self.host_ip] if self.host_ip else [ANY_IPV4, *([ANY_IPV6] if self.any_ipv6 else [])]
        return tuple(PublishedPort(self.container_port, address, self.host_port) for address in addresses)


def plan_order(bindings: Iterable[PortBinding]) -> list[PortBinding]:
    """Fixed ports first, then ranges, then what the kernel chooses, so that none takes what another one needs."""
    return sorted(dict.fromkeys(bindings), key=_wave)


def plan_waves(bindings: Iterable[PortBinding]) -> list[list[PortBinding]]:
    """The same in groups: within one it doesn't matter who comes first."""
    ordered = plan_order(bindings)
    waves = sorted({_wave(one) for one in ordered})
    return [[one for one in ordered if _wave(one) == wave] for wave in waves]


def _wave(binding: PortBinding) -> tuple[bool, bool]:
    return binding.host_port == 0, binding.host_port_end != 0


def plan_bindings(ports: Iterable[PublishedPort]) -> list[PortBinding]:
    """What had to be asked for to have these: a port of every address comes as two values."""
    wanted = set(ports)
    bindings = []
    for port in sorted(wanted):
        other = ANY_IPV4 if port.host_ip == ANY_IPV6 else ANY_IPV6
        both = PublishedPort(port.container_port, other, port.host_port) in wanted
        if port.host_ip == ANY_IPV6 and both:
            continue
        host_ip = "" if port.host_ip == ANY_IPV4 and both else port.host_ip
        bindings.append(PortBinding(port.container_port, host_ip, port.host_port))
    return bindings


def parse_note(note: str) -> list[PortRecord]:
    """What a predecessor wrote down with `format_note`."""
    return [
        PortRecord(ContainerPort(number, Protocol(protocol)), host_ip, host_port, any_ipv6)
        for number, protocol, host_ip, host_port, any_ipv6 in json.loads(note)
    ]


def format_note(records: Sequence[PortRecord]) -> str:
    return json.dumps(
        [(r.container_port.number, r.container_port.protocol, r.host_ip, r.host_port, r.any_ipv6) for r in records]
    )


def check_address(host_ip: str) -> None:
    try:
        if host_ip:
            ip_address(host_ip)
    except ValueError:
        raise InvalidArgument(f"invalid IP address {host_ip!r}", hint="publish on an address of this host") from None


def find_clash(binding: PortBinding, taken: Iterable[PublishedPort]) -> str:
    """The address at which one of these has the very port that is asked for; "" = none has."""
    for port in taken:
        same = port.host_port == binding.host_port and port.container_port.protocol == binding.container_port.protocol
        if same and not binding.host_port_end and _overlap(binding.host_ip, port.host_ip):
            return binding.host_ip or port.host_ip
    return ""


def _overlap(wanted: str, taken: str) -> bool:
    if not wanted or wanted == taken:
        return True
    every = ANY_IPV6 if ":" in wanted else ANY_IPV4
    return (":" in wanted) == (":" in taken) and every in (wanted, taken)


def allocated(binding: PortBinding, address: str, endpoint: str, owner: str) -> AddressInUse:
    """docker's words where another container has it: it looks there before it asks the kernel."""
    return AddressInUse(
        f"driver failed programming external connectivity on endpoint {endpoint}: "
        f"Bind for {address}:{binding.host_port} failed: port is already allocated",
        f"container {owner[:12]} publishes it; stop that one, or publish another port",
    )


def refusal(binding: PortBinding, code: int, address: str, endpoint: str, hint: str = "") -> HostvmError:
    """In docker's words; `endpoint` is how those name the container, `address` is what was refused with errno `code`.

    `hint` is for a host that isn't the one that this engine runs on.
    """
    message = (
        f"driver failed programming external connectivity on endpoint {endpoint}: "
        f"Error starting userland proxy: {_listen_text(binding, code, address)}"
    )
    if code == errno.EADDRINUSE:
        return AddressInUse(message, hint=hint or _taken_hint(binding))
    if code == errno.EADDRNOTAVAIL:
        return HostFailed(message, hint=f"no interface of this host has the address {binding.host_ip}")
    return HostFailed(message, hint)


def _listen_text(binding: PortBinding, code: int, address: str) -> str:
    """As Go's net package says it: `listen tcp4 0.0.0.0:80: bind: address already in use`."""
    family, shown = (6, f"[{address}]") if ":" in address else (4, address)
    reason = os.strerror(code)
    reason = reason[:1].lower() + reason[1:]
    if code == errno.EADDRNOTAVAIL:
        reason = "cannot assign requested address"
    return f"listen {binding.container_port.protocol}{family} {shown}:{binding.host_port}: bind: {reason}"


def _taken_hint(binding: PortBinding) -> str:
    letter = "t" if binding.container_port.protocol is Protocol.TCP else "u"
    port, target = binding.host_port, binding.container_port.number
    suffix = "" if binding.container_port.protocol is Protocol.TCP else "/udp"
    return (
        f"`ss -{letter}lnp sport = :{port}` shows who has it; or publish another port: "
        f"-p {port + 1 if port < 65535 else port - 1}:{target}{suffix}"
    )
