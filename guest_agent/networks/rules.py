"""The firewall's rules as nftables text. Pure; all of it is one transaction each time.

Theory of operation. A published port is an element of a map: `any` for ports of every address, `own` for ports of one
address. Packets for an address of this host are looked up there and sent on to the container (DNAT), whether they come
from outside (prerouting) or from this host itself (output). Only a connection's first packet sees these chains.

From 127.0.0.1 that works because the bridge has `route_localnet`, and because such packets leave with the bridge's
address (masquerade). Since route_localnet would let neighbours on the bridge speak to, or as, 127.0.0.0/8, the `guard`
chain drops whatever claims such an address and didn't come by `lo`, before anything else looks at it.

A container that calls a published port of its own host goes out and comes back through the bridge, masqueraded, so
that the answer takes the same way (hairpin).

What is forwarded to the bridge from elsewhere must be an answer or must have come by a published port: a peer on the
outside network that simply routes to a container's address gets nowhere, and nowhere near ports that are published on
127.0.0.1 only. This follows docker 28; a `drop` here is final whatever other tables accept.

That keeps bridges from each other as well. An internal network lets nothing in or out at all, but by the host itself.
IPv6 has a table of its own with the same rules; its ports are relayed, so it has no maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from guest_agent.wire.models import PublishedPort

ANY = "0.0.0.0"
_MAPS = {
    "any": "inet_proto . inet_service : ipv4_addr . inet_service",
    "own": "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
}


@dataclass(frozen=True, slots=True)
class Translation:
    """A published IPv4 port and the container address that it leads to."""

    port: PublishedPort
    address: str


@dataclass(frozen=True, slots=True)
class BridgeRules:
    """What the rules have to know of a bridge."""

    name: str
    subnets: tuple[IPv4Network | IPv6Network, ...]
    masquerade: bool = True
    internal: bool = False

    def of(self, version: int) -> list[str]:
        return [str(subnet) for subnet in self.subnets if subnet.version == version]


def plan_table(table: str, bridges: Sequence[BridgeRules]) -> str:
    """Makes the tables, or brings those that are there up to date without touching what is in their maps."""
    maps = "\n".join(f"  map {name} {{ type {kinds}; }}" for name, kinds in _MAPS.items())
    return f"""\
add table ip {table}
flush table ip {table}
table ip {table} {{
{maps}
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
    iif "lo" accept
    ip daddr 127.0.0.0/8 drop
    ip saddr 127.0.0.0/8 drop
  }}
  chain published {{
    meta l4proto {{ tcp, udp }} dnat ip to ip daddr . meta l4proto . th dport map @own
    meta l4proto {{ tcp, udp }} dnat ip to meta l4proto . th dport map @any
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump published
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump published
  }}
{_plan_shared_chains(bridges, 4)}
}}
{_plan_table6(table, bridges)}"""


def _plan_table6(table: str, bridges: Sequence[BridgeRules]) -> str:
    """Only where a network has IPv6: a kernel without it knows no such table."""
    if not any(bridge.of(6) for bridge in bridges):
        return ""
    return f"""\
add table ip6 {table}
flush table ip6 {table}
table ip6 {table} {{
{_plan_shared_chains([bridge for bridge in bridges if bridge.of(6)], 6)}
}}
"""


def _plan_shared_chains(bridges: Sequence[BridgeRules], version: int) -> str:
    """The chains that both families have."""
    return "\n".join(
        [
            "  chain postrouting {",
            "    type nat hook postrouting priority srcnat; policy accept;",
            *(line for bridge in bridges for line in _plan_masquerade(bridge, version)),
            "  }",
            "  chain forward {",
            "    type filter hook forward priority filter; policy accept;",
            "    ct state established,related accept",
            *(line for bridge in bridges for line in _plan_forward(bridge)),
            "  }",
        ]
    )


def _plan_masquerade(bridge: BridgeRules, version: int) -> list[str]:
    name = bridge.name
    lines = [f'    oifname "{name}" ip saddr 127.0.0.0/8 masquerade'] if version == 4 else []
    family = "ip" if version == 4 else "ip6"
    for subnet in bridge.of(version):
        if bridge.masquerade and not bridge.internal:
            lines.append(f'    oifname != "{name}" {family} saddr {subnet} masquerade')
        lines.append(f'    oifname "{name}" {family} saddr {subnet} ct status dnat masquerade')
    return lines


def _plan_forward(bridge: BridgeRules) -> list[str]:
    """What is new and may be forwarded to a bridge's members, or by them."""
    name = bridge.name
    if bridge.internal:
        return [f'    iifname "{name}" oifname != "{name}" drop', f'    oifname "{name}" iifname != "{name}" drop']
    return [
        f'    oifname "{name}" iifname "{name}" accept',
        f'    oifname "{name}" ct status dnat accept',
        f'    oifname "{name}" drop',
    ]


def plan_new_table(table: str, bridges: Sequence[BridgeRules]) -> str:
    """The same from nothing: for a table that another version of this program made with other types."""
    return plan_remove_table(table) + plan_table(table, bridges)


def plan_remove_table(table: str) -> str:
    """Idempotent: adding first makes the deletion sound."""
    return f"add table ip {table}\ndelete table ip {table}\n"


def plan_remove_table6(table: str) -> str:
    """The same for IPv6's, which a kernel without IPv6 refuses."""
    return f"add table ip6 {table}\ndelete table ip6 {table}\n"


def plan_add(table: str, translations: Iterable[Translation]) -> str:
    """Refused as a whole when an element leads elsewhere already; "" when there is nothing to add."""
    targets = [(one, f" : {one.address} . {one.port.container_port.number}") for one in translations]
    return _plan_elements(f"add element ip {table}", targets)


def plan_remove(table: str, translations: Iterable[Translation]) -> str:
    """Refused as a whole when an element isn't there (`plan_rebuild` is the way out); "" when there is nothing."""
    return _plan_elements(f"delete element ip {table}", [(one, "") for one in translations])


def plan_rebuild(table: str, translations: Iterable[Translation]) -> str:
    """Makes the maps hold exactly these. Connections that stand go on."""
    return "".join(f"flush map ip {table} {name}\n" for name in _MAPS) + plan_add(table, translations)


def _plan_elements(command: str, targets: list[tuple[Translation, str]]) -> str:
    """One command for each map: a range of a thousand ports is still one line to parse."""
    elements: dict[str, list[str]] = {}
    for one, target in targets:
        if ":" not in one.port.host_ip:  # IPv6 is relayed
            elements.setdefault(_map_of(one.port), []).append(_key(one.port) + target)
    return "".join(f"{command} {name} {{ {', '.join(each)} }}\n" for name, each in elements.items())


def _map_of(port: PublishedPort) -> str:
    return "any" if port.host_ip == ANY else "own"


def _key(port: PublishedPort) -> str:
    key = f"{port.container_port.protocol} . {port.host_port}"
    return key if _map_of(port) == "any" else f"{port.host_ip} . {key}"
