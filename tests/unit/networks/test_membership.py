"""From a wish to a place in a network."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from guest_agent.networks.membership import (
    Membership,
    check_settings,
    give_back,
    make_pools,
    plan_endpoint,
    take_addresses,
)
from guest_agent.wire.errors import Forbidden, HostFailed, InvalidArgument
from guest_agent.wire.networks import AddressRange, EndpointSettings, Network

RANGES = (
    AddressRange("10.9.0.0/29", "10.9.0.1", "10.9.0.4/30", {"nas": "10.9.0.5"}),
    AddressRange("fd00:9::/64", "fd00:9::1"),
)
LOOSE = Network("c" * 64, "loose", "bridge", 1, RANGES)
DEFAULT = Network("d" * 64, "bridge", "bridge", 1)
NO_NETWORK = Network("0" * 64, "none", "null", 1)
BACK = Network("b" * 64, "back", "bridge", 1, RANGES, configured=True, ipv6=True)


def member(address: str = "", address6: str = "", last: tuple[str, ...] = ()) -> Membership:
    return Membership(EndpointSettings("back", address=address, address6=address6), last=last)


def test_a_container_comes_back_to_its_addresses_of_both_families() -> None:
    pools, last = make_pools(BACK), ("10.9.0.6", "fd00:9::9")
    assert tuple(map(str, take_addresses(pools, member(last=last)))) == last
    assert tuple(map(str, take_addresses(pools, member(last=last)))) == ("10.9.0.4", "fd00:9::2")


def test_an_ipv6_address_is_taken_note_of_in_a_network_without_ipv6() -> None:
    """As dockerd does where such a subnet was asked for; the container gets none of it."""
    network = Network("e" * 64, "four", "bridge", 1, RANGES[:1], (AddressRange("2001:389::1/64"),), configured=True)
    wanted = member(address6="2001:389::f00d")
    check_settings(network, wanted.settings)
    assert take_addresses(make_pools(network), wanted)[1] is None
    with pytest.raises(InvalidArgument, match="no configured subnet"):
        check_settings(network, member(address6="2001:38a::1").settings)


def test_addresses_come_from_the_range_and_leave_out_what_is_reserved() -> None:
    pools = make_pools(BACK)
    given = [take_addresses(pools, member()) for _ in range(2)]
    assert [str(four) for four, _ in given] == ["10.9.0.4", "10.9.0.6"]
    assert [str(six) for _, six in given] == ["fd00:9::2", "fd00:9::3"]
    with pytest.raises(HostFailed, match="no available IPv4 addresses"):
        take_addresses(pools, member())
    give_back(pools, ip_address("10.9.0.4"))
    assert str(take_addresses(pools, member())[0]) == "10.9.0.4"


def test_a_named_address_is_given_once_and_nothing_is_kept_after_a_refusal() -> None:
    pools = make_pools(BACK)
    take_addresses(pools, member(address6="fd00:9::7"))
    wanted = member(address="10.9.0.2", address6="fd00:9::7")
    with pytest.raises(Forbidden, match="Address already in use"):
        take_addresses(pools, wanted)
    assert str(take_addresses(pools, member(address="10.9.0.2"))[0]) == "10.9.0.2"
    with pytest.raises(Forbidden):
        take_addresses(pools, member(address="10.9.0.1"))


@pytest.mark.parametrize(
    ("network", "settings", "complaint"),
    [
        (BACK, EndpointSettings("back", address="10.8.0.2"), "no configured subnet or ip-range contain the IP address"),
        (LOOSE, EndpointSettings("loose", address="10.9.0.2"), "user configured subnets"),
        (DEFAULT, EndpointSettings("bridge", address="10.9.0.2"), "user defined networks only"),
        (DEFAULT, EndpointSettings("bridge", aliases=("x",)), "invalid endpoint settings:\nnetwork-scoped alias"),
        (NO_NETWORK, EndpointSettings("none", aliases=("x",)), "network-scoped alias"),
        (
            NO_NETWORK,
            EndpointSettings("none", address="10.9.0.2"),
            "only\n\\* user specified IP address is supported only",
        ),
        (BACK, EndpointSettings("back", link_local=("169.253.5.5",)), "invalid link local IP address: 169.253.5.5"),
    ],
)
def test_what_a_network_cannot_give(network: Network, settings: EndpointSettings, complaint: str) -> None:
    with pytest.raises(InvalidArgument, match=complaint):
        check_settings(network, settings)


def test_an_endpoint_has_everything_and_an_internal_one_no_gateway() -> None:
    member = Membership(EndpointSettings("back", mac_address="02:aa:00:00:00:09", links=("a:b",)), ("web", "www"))
    addresses = (ip_address("10.9.0.4"), ip_address("fd00:9::2"))
    one = plan_endpoint(BACK, member, addresses, ["eth0"])
    assert (one.interface, one.address, one.prefix_length, one.gateway) == ("eth1", "10.9.0.4", 29, "10.9.0.1")
    assert (one.address6, one.prefix_length6, one.gateway6) == ("fd00:9::2", 64, "fd00:9::1")
    assert (one.mac_address, one.names, one.links) == ("02:aa:00:00:00:09", ("web", "www"), ("a:b",))
    vault = Network("e" * 64, "vault", "bridge", 1, RANGES, internal=True)
    hidden = plan_endpoint(vault, Membership(EndpointSettings("vault")), addresses, [])
    assert hidden.internal and not hidden.gateway and hidden.mac_address == "02:42:0a:09:00:04"
