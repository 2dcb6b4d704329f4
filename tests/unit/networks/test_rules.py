"""The firewall's text."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from guest_agent.networks.coexistence import plan_missing
from guest_agent.networks.rules import (
    BridgeRules,
    Translation,
    plan_add,
    plan_rebuild,
    plan_remove,
    plan_remove_table,
    plan_table,
)
from guest_agent.wire.models import ContainerPort, Protocol, PublishedPort

WEB = Translation(PublishedPort(ContainerPort(80), "0.0.0.0", 8080), "172.30.0.2")
WEB6 = Translation(PublishedPort(ContainerPort(80), "::", 8080), "172.30.0.2")
NAMES = Translation(PublishedPort(ContainerPort(53, Protocol.UDP), "127.0.0.1", 5353), "172.30.0.3")


def test_ports_of_every_address_and_of_one_go_to_their_maps() -> None:
    assert plan_add("t", [WEB, WEB6, NAMES]) == (
        "add element ip t any { tcp . 8080 : 172.30.0.2 . 80 }\n"
        "add element ip t own { 127.0.0.1 . udp . 5353 : 172.30.0.3 . 53 }\n"
    )


def test_removal_names_only_keys() -> None:
    assert plan_remove("t", [WEB]) == "delete element ip t any { tcp . 8080 }\n"


def test_nothing_to_do_is_no_command() -> None:
    assert plan_add("t", [WEB6]) == plan_remove("t", []) == ""


def test_rebuilding_flushes_and_adds_in_one_go() -> None:
    assert plan_rebuild("t", [WEB]).splitlines() == [
        "flush map ip t any",
        "flush map ip t own",
        "add element ip t any { tcp . 8080 : 172.30.0.2 . 80 }",
    ]


def test_the_table_bears_only_the_names_given() -> None:
    text = plan_table("mine", [BridgeRules("br9", (IPv4Network("10.9.0.0/16"),))])
    assert "hostvm" not in text and 'oifname "br9"' in text and "10.9.0.0/16" in text


def test_removing_the_table_is_sound_without_one() -> None:
    assert plan_remove_table("t").splitlines() == ["add table ip t", "delete table ip t"]


def test_rules_that_are_there_are_known_in_both_listings() -> None:
    both = [("-i", "br9", "-j", "ACCEPT"), ("-o", "br9", "-j", "ACCEPT")]
    assert plan_missing("br9", "") == both
    assert plan_missing("br9", 'iifname "br9" counter packets 0 bytes 0 accept') == both[1:]
    assert plan_missing("br9", "-A FORWARD -i br9 -j ACCEPT\n-A FORWARD -o br9 -j ACCEPT\n") == []
    assert plan_missing("br9", "-A FORWARD -i br99 -j ACCEPT\n") == both


def test_an_internal_network_lets_nothing_through_and_hides_no_way_out() -> None:
    text = plan_table("t", [BridgeRules("br1", (IPv4Network("10.9.0.0/16"),), internal=True)])
    assert 'iifname "br1" oifname != "br1" drop' in text and 'oifname "br1" iifname != "br1" drop' in text
    assert 'oifname != "br1" ip saddr 10.9.0.0/16 masquerade' not in text


def test_ipv6_has_a_table_only_where_a_network_has_it() -> None:
    plain = BridgeRules("br1", (IPv4Network("10.9.0.0/16"),))
    both = BridgeRules("br2", (IPv4Network("10.8.0.0/16"), IPv6Network("fd00:8::/64")))
    assert "ip6" not in plan_table("t", [plain])
    _, _, text = plan_table("t", [plain, both]).partition("add table ip6 t")
    assert 'oifname != "br2" ip6 saddr fd00:8::/64 masquerade' in text and "br1" not in text and "map" not in text
