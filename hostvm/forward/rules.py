"""Which ports of this host a machine's containers may be published on: the user's rules. Pure.

`machine set --port-rule deny=22,8000-8100 --port-rule bind=127.0.0.1`: without rules every port is permitted, as with
docker. Our own control sockets are unix sockets, so no port leads over them; and a port that any program of the host
has can't be bound a second time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from guest_agent.wire.errors import Forbidden, InvalidArgument
from guest_agent.wire.leases import Bind
from guest_agent.wire.models import Protocol

_LAST_PORT = 65535
_SYNTAX_HINT = "as in --port-rule deny=22,8000-8100,53/udp or --port-rule bind=127.0.0.1; an empty value takes it away"


@dataclass(frozen=True, slots=True)
class PortRange:
    """From `first` to `last`; of both protocols if `protocol` is None."""

    first: int
    last: int
    protocol: Protocol | None = None

    def covers(self, protocol: Protocol, port: int) -> bool:
        return self.protocol in (None, protocol) and self.first <= port <= self.last

    def __str__(self) -> str:
        ports = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return ports if self.protocol is None else f"{ports}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class PortRules:
    """`deny`: what isn't published. `bind`: the one address of this host to publish on; "" = any."""

    deny: tuple[PortRange, ...] = ()
    bind: str = ""
    machine: str = ""  #: for hints


def deny_all(machine: str) -> PortRules:
    """For rules that can't be read: what they meant to deny isn't known."""
    return PortRules((PortRange(1, _LAST_PORT),), machine=machine)


def parse_rules(document: Mapping[str, object], machine: str = "") -> PortRules:
    """The `ports` of a machine's spec. Raises InvalidArgument."""
    unknown = sorted(set(document) - {"deny", "bind"})
    if unknown:
        raise InvalidArgument(f"there is no port rule {unknown[0]!r}", _SYNTAX_HINT)
    return PortRules(tuple(_parse_ranges(document.get("deny", ""))), _parse_bind(document.get("bind", "")), machine)


def plan_bind(rules: PortRules, asked: Bind) -> Bind:
    """The request on the address that the rules permit. Raises Forbidden for another one."""
    if not rules.bind or asked.host_ip == rules.bind:
        return asked
    if asked.host_ip:
        raise Forbidden(
            f"the machine's rules permit ports on {rules.bind} only, not on {asked.host_ip}",
            _hint(rules, "bind=", "permits every address"),
        )
    return dataclasses.replace(asked, host_ip=rules.bind)


def plan_ports(rules: PortRules, asked: Bind) -> list[int]:
    """The ports to try, in order. Raises Forbidden when the rules permit none of them."""
    wanted = range(asked.port, max(asked.port, asked.port_end) + 1)
    permitted = [port for port in wanted if find_denial(rules, asked.protocol, port) is None]
    if not permitted:
        denied = find_denial(rules, asked.protocol, asked.port)
        raise Forbidden(
            f"the machine's rules deny port {asked.port}/{asked.protocol}: deny={denied}",
            _hint(rules, f"deny={','.join(str(one) for one in rules.deny if one != denied)}", "permits it"),
        )
    return permitted


def find_denial(rules: PortRules, protocol: Protocol, port: int) -> PortRange | None:
    """The rule that denies that port; port 0, which the kernel chooses, is denied by none."""
    return next((one for one in rules.deny if one.covers(protocol, port)), None)


def permits(rules: PortRules, protocol: Protocol, host_ip: str, port: int) -> bool:
    """May a port that is held stay?"""
    return find_denial(rules, protocol, port) is None and rules.bind in ("", host_ip)


def _hint(rules: PortRules, rule: str, effect: str) -> str:
    return " ".join(f"`hostvm machine set --port-rule {rule} {rules.machine}".split()) + f"` {effect}"


def _parse_ranges(value: object) -> Iterator[PortRange]:
    items = value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise InvalidArgument(f"no port or range of ports: {item!r}", _SYNTAX_HINT)
        yield from (_parse_range(text.strip()) for text in str(item).split(",") if text.strip())


def _parse_range(text: str) -> PortRange:
    ports, slash, protocol = text.partition("/")
    first, dash, last = ports.partition("-")
    try:
        found = PortRange(int(first), int(last if dash else first), Protocol(protocol) if slash else None)
    except ValueError:
        raise InvalidArgument(f"no port or range of ports: {text!r}", _SYNTAX_HINT) from None
    if not 0 < found.first <= found.last <= _LAST_PORT:
        raise InvalidArgument(f"no port or range of ports: {text!r}", _SYNTAX_HINT)
    return found


def _parse_bind(value: object) -> str:
    try:
        return str(ip_address(value)) if isinstance(value, str) and value else _empty(value)
    except ValueError:
        raise InvalidArgument(f"bind must be an IP address of this host, not {value!r}", _SYNTAX_HINT) from None


def _empty(value: object) -> str:
    if value not in ("", None):
        raise ValueError
    return ""
