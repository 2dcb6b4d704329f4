"""Subnets that clash with nothing, and addresses handed out round robin."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.networks.addresses import Address, AddressPool, choose_subnet, gateway_of, mac_address, parse_subnet
from guest_agent.wire.errors import HostFailed, InvalidArgument

networks = st.builds(
    lambda address, prefix: IPv4Network((address, prefix), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)


def test_the_first_candidate_is_far_from_dockers_own() -> None:
    assert choose_subnet([]) == IPv4Network("172.30.0.0/16")


@given(st.lists(networks, max_size=20))
def test_the_chosen_one_overlaps_no_route(taken: list[IPv4Network]) -> None:
    try:
        chosen = choose_subnet(taken)
    except HostFailed:
        return
    assert not any(chosen.overlaps(network) for network in taken if network.prefixlen >= 8)


def test_a_vpns_halves_of_the_default_route_clash_with_nothing() -> None:
    assert choose_subnet([IPv4Network("0.0.0.0/1"), IPv4Network("128.0.0.0/1")])


def test_no_subnet_left_says_what_to_configure() -> None:
    with pytest.raises(HostFailed) as caught:
        choose_subnet(map(IPv4Network, ("172.0.0.0/8", "192.168.0.0/16", "10.0.0.0/8")))
    assert "[engine] subnet" in caught.value.hint


@pytest.mark.parametrize("text", ["", "10.1", "10.0.0.0/31", "fd00::/64", "10.0.0.0/99"])
def test_a_bad_subnet_is_the_users(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_subnet(text)


def test_the_gateway_is_the_first_address_or_the_one_given() -> None:
    assert parse_subnet("10.1.0.0/16") == IPv4Interface("10.1.0.1/16")
    assert parse_subnet("10.1.0.254/24") == IPv4Interface("10.1.0.254/24")


def test_mac_addresses_follow_the_address() -> None:
    assert mac_address(IPv4Address("172.30.0.2")) == "02:42:ac:1e:00:02"


def test_an_address_rests_before_it_is_given_again() -> None:
    pool = AddressPool(gateway_of(IPv4Network("10.0.0.0/29")))
    first = pool.take()
    pool.give_back(first)
    assert [str(pool.take()) for _ in range(4)] == ["10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
    assert pool.take() == first


def test_who_had_an_address_gets_it_again_unless_somebody_has_it() -> None:
    """What leads to a service keeps the address that it once looked up."""
    pool = AddressPool(gateway_of(IPv4Network("10.0.0.0/29")))
    first, second = str(pool.take()), str(pool.take())
    pool.give_back(IPv4Address(first))
    assert str(pool.take(first)) == first
    assert [str(pool.take(last)) for last in (second, "10.0.0.1", "10.9.0.2")] == ["10.0.0.4", "10.0.0.5", "10.0.0.6"]


def test_a_full_pool_says_so_and_recovers() -> None:
    pool = AddressPool(gateway_of(IPv4Network("10.0.0.0/30")))
    taken = pool.take()
    with pytest.raises(HostFailed, match="no available IPv4 addresses"):
        pool.take()
    pool.give_back(taken)
    pool.give_back(taken)
    assert pool.take() == taken


@given(st.lists(st.integers(0, 13), max_size=60))
def test_no_address_is_given_twice(steps: list[int]) -> None:
    pool = AddressPool(IPv4Interface("10.0.0.14/28"))
    used: list[Address] = []
    for step in steps:
        if step < len(used):
            pool.give_back(used.pop(step))
        elif len(used) < 13:
            address = pool.take()
            assert address not in used and str(address) not in ("10.0.0.0", "10.0.0.14", "10.0.0.15")
            used.append(address)


def test_claimed_addresses_are_not_given() -> None:
    pool = AddressPool(gateway_of(IPv4Network("10.0.0.0/28")))
    pool.claim(IPv4Address("10.0.0.5"))
    assert str(pool.take()) == "10.0.0.6"
