"""Which ports a user's rules permit, and what is said about those that they don't."""

from __future__ import annotations

import errno

import pytest

from guest_agent.wire.errors import Forbidden, InvalidArgument
from guest_agent.wire.leases import Bind, Release
from guest_agent.wire.models import Protocol
from hostvm.forward.rules import PortRange, PortRules, deny_all, parse_rules, permits, plan_bind, plan_ports
from hostvm.forward.table import refusal_hint

TCP, UDP = Protocol.TCP, Protocol.UDP


def ask(port: int, port_end: int = 0, host_ip: str = "", protocol: Protocol = TCP) -> Bind:
    return Bind(protocol, host_ip, port, port_end, "c1")


def test_without_rules_everything_is_permitted() -> None:
    rules = parse_rules({})
    assert rules == PortRules()
    assert plan_ports(rules, ask(22)) == [22]
    assert plan_ports(rules, ask(0)) == [0]
    assert plan_bind(rules, ask(22, host_ip="10.1.1.1")).host_ip == "10.1.1.1"


@pytest.mark.parametrize("value", [["22", "8000-8100", "53/udp"], "22,8000-8100, 53/udp", [22, "8000-8100,53/udp"]])
def test_denials_are_read_however_they_are_written(value: object) -> None:
    rules = parse_rules({"deny": value})
    assert rules.deny == (PortRange(22, 22), PortRange(8000, 8100), PortRange(53, 53, UDP))
    assert [str(one) for one in rules.deny] == ["22", "8000-8100", "53/udp"]


def test_a_number_alone_and_nothing_are_rules_too() -> None:
    assert parse_rules({"deny": 22}).deny == (PortRange(22, 22),)
    assert parse_rules({"deny": "", "bind": ""}) == PortRules()
    assert parse_rules({"bind": "::1"}).bind == "::1"


@pytest.mark.parametrize(
    "document",
    [
        {"deny": "http"}, {"deny": "0"}, {"deny": "65536"}, {"deny": "90-80"}, {"deny": "80-"}, {"deny": {"a": 1}},
        {"deny": "80/sctp"}, {"deny": [True]}, {"deny": [None]}, {"bind": "localhost"}, {"bind": 1}, {"allow": "80"},
    ],
)  # fmt: skip
def test_what_is_no_rule_is_said_with_the_syntax(document: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_rules(document)
    assert "--port-rule" in caught.value.hint


def test_a_denied_port_names_the_rule_and_how_to_change_it() -> None:
    rules = parse_rules({"deny": "22,8000-8100"}, "work")
    with pytest.raises(Forbidden) as caught:
        plan_ports(rules, ask(8080))
    assert caught.value.message == "the machine's rules deny port 8080/tcp: deny=8000-8100"
    assert caught.value.hint == "`hostvm machine set --port-rule deny=22 work` permits it"


def test_a_range_goes_around_what_is_denied() -> None:
    rules = parse_rules({"deny": "8001-8002,53/udp"})
    assert plan_ports(rules, ask(8000, 8003)) == [8000, 8003]
    assert plan_ports(rules, ask(53)) == [53]
    with pytest.raises(Forbidden):
        plan_ports(rules, ask(53, protocol=UDP))


def test_one_address_is_narrowed_to_or_refused() -> None:
    rules = parse_rules({"bind": "127.0.0.1"}, "vm")
    assert plan_bind(rules, ask(80)).host_ip == "127.0.0.1"
    assert plan_bind(rules, ask(80, host_ip="127.0.0.1")).host_ip == "127.0.0.1"
    with pytest.raises(Forbidden) as caught:
        plan_bind(rules, ask(80, host_ip="0.0.0.0"))
    assert "`hostvm machine set --port-rule bind= vm`" in caught.value.hint


def test_a_held_port_is_looked_at_again() -> None:
    rules = parse_rules({"deny": "22", "bind": "127.0.0.1"})
    assert permits(rules, TCP, "127.0.0.1", 80)
    assert not permits(rules, TCP, "", 80)
    assert not permits(rules, TCP, "127.0.0.1", 22)


def test_rules_that_cant_be_read_deny_everything() -> None:
    for port in (1, 80, 65535):
        with pytest.raises(Forbidden):
            plan_ports(deny_all("vm"), ask(port))


def test_hints_are_the_hosts_own() -> None:
    assert "ip_unprivileged_port_start=80" in refusal_hint(errno.EACCES, ask(80), "linux")
    assert "without an address" in refusal_hint(errno.EACCES, ask(80, host_ip="127.0.0.1"), "darwin")
    assert "lsof -nP -iUDP:53" in refusal_hint(errno.EADDRINUSE, ask(53, protocol=UDP), "darwin")
    assert refusal_hint(errno.EADDRINUSE, ask(53), "linux") == ""
    assert refusal_hint(errno.EADDRINUSE, Release(), "darwin") == ""
