"""Which ranges a network gets, and what is refused in dockerd's words."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest

from guest_agent.networks.ranges import OVERLAP, find_idle, plan_ranges
from guest_agent.wire.errors import Forbidden, InvalidArgument, NotFound
from guest_agent.wire.networks import AddressRange

SEED = "engine"


def test_a_default_clashes_with_no_network_and_no_route() -> None:
    taken, routed = [IPv4Network("172.30.0.0/16")], [IPv4Network("172.28.0.0/15"), IPv4Network("0.0.0.0/0")]
    (one,) = plan_ranges([], False, taken, routed, SEED)
    assert (one.subnet, one.gateway) == ("172.27.0.0/16", "172.27.0.1")


def test_ipv6_has_a_default_of_the_engine_s_own() -> None:
    four, six = plan_ranges([], True, [], [], SEED)
    assert ip_network(four.subnet).version == 4
    subnet = IPv6Network(six.subnet)
    assert subnet.is_private and subnet.prefixlen == 64 and six.gateway == str(subnet[1])
    _, next_one = plan_ranges([], True, [subnet], [], SEED)
    _, elsewhere = plan_ranges([], True, [], [], "another engine")
    assert len({six.subnet, next_one.subnet, elsewhere.subnet}) == 3


@pytest.mark.parametrize(
    ("asked", "gateway"),
    [
        (AddressRange("10.9.0.0/24"), "10.9.0.1"),
        (AddressRange("10.9.0.0/24", "10.9.0.254"), "10.9.0.254"),
        (AddressRange("10.9.0.0/24", ip_range="10.9.0.128/25"), "10.9.0.128"),
        (AddressRange("10.9.0.0/24", reserved={"nas": "10.9.0.1"}), "10.9.0.2"),
        (AddressRange("10.9.0.4/31"), "10.9.0.4"),
        (AddressRange("10.9.0.5/32"), "10.9.0.5"),
        (AddressRange("255.255.255.255/32"), "255.255.255.255"),
    ],
)
def test_the_gateway_is_the_first_address_unless_one_is_named(asked: AddressRange, gateway: str) -> None:
    assert plan_ranges([asked], False, [], [], SEED)[0].gateway == gateway


def test_a_subnet_whose_addresses_are_all_reserved_has_no_gateway() -> None:
    with pytest.raises(Forbidden, match="no available IPv4 addresses"):
        plan_ranges([AddressRange("255.255.255.255/32", reserved={"nas": "255.255.255.255"})], False, [], [], SEED)


def test_ipv6_ranges_of_a_network_without_ipv6_are_not_looked_at() -> None:
    """With bits of a host in it, too: docker-py's own tests ask for such networks."""
    (one,) = plan_ranges([AddressRange("2001:389::1/64")], False, [], [], SEED)
    assert ip_network(one.subnet).version == 4
    idle = AddressRange("2001:389::1/64")
    assert find_idle([AddressRange("10.9.0.0/24"), idle]) == (idle,)


def test_overlaps_are_refused_with_our_networks_only() -> None:
    asked = [AddressRange("10.9.0.0/16")]
    with pytest.raises(Forbidden, match=OVERLAP):
        plan_ranges(asked, False, [IPv4Network("10.9.4.0/24")], [], SEED)
    with pytest.raises(Forbidden, match=OVERLAP):
        plan_ranges([*asked, AddressRange("10.9.4.0/24")], False, [], [], SEED)
    assert plan_ranges(asked, False, [], [IPv4Network("10.9.4.0/24")], SEED)


OUTSIDE = "parent subnet 10.9.0.0/24 doesn't contain"


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (("10.9.0.0",), "invalid subnet 10.9.0.0: invalid CIDR block notation"),
        (("10.9.0.1/24",), "invalid subnet 10.9.0.1/24: it should be 10.9.0.0/24"),
        (("10.9.0.0/24", "10.8.0.1"), f"invalid gateway 10.8.0.1: {OUTSIDE} this address"),
        (("10.9.0.0/24", "fd00::1"), "invalid gateway fd00::1: parent subnet is an IPv4 block"),
        (("10.9.0.0/24", "me"), "invalid gateway me: invalid address"),
        (
            ("10.9.0.0/24", "", "10.9.0.0/16"),
            "invalid ip-range 10.9.0.0/16: CIDR block is bigger than its parent subnet 10.9.0.0/24",
        ),
        (("10.9.0.0/24", "", "10.8.0.0/25"), f"invalid ip-range 10.8.0.0/25: {OUTSIDE} ip-range"),
        (("10.9.0.0/24", "", "10.9.0.1/25"), "invalid ip-range 10.9.0.1/25: it should be 10.9.0.0/25"),
    ],
)
def test_what_makes_no_sense_is_said(asked: tuple[str, ...], line: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        plan_ranges([AddressRange(*asked)], False, [], [], SEED)  # type: ignore[arg-type]
    assert refusal.value.message.splitlines() == ["invalid network config:", line]


def test_a_reserved_address_lies_in_the_subnet() -> None:
    with pytest.raises(InvalidArgument, match=f"invalid auxiliary address nas: {OUTSIDE}"):
        plan_ranges([AddressRange("10.9.0.0/24", reserved={"nas": "10.8.0.9"})], False, [], [], SEED)


def test_an_ipv6_range_without_ipv6_is_passed_over() -> None:
    (one,) = plan_ranges([AddressRange("fd00:9::/64")], False, [], [], SEED)
    assert ip_network(one.subnet).version == 4


def test_no_default_is_left() -> None:
    taken = map(IPv4Network, ("172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8"))
    with pytest.raises(NotFound, match="non-overlapping IPv4 address pool"):
        plan_ranges([], False, taken, [], SEED)
