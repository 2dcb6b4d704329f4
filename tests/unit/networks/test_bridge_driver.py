"""Whose bridges are made and taken away; the kernel is a list of links."""

from __future__ import annotations

from typing import cast

import pytest

from guest_agent.linux import netlink
from guest_agent.linux.netlink import Link, Request, RouteSocket
from guest_agent.networks.bridge_driver import NAME_OPTION, BridgeDriver
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.networks import Network

IDENTITY = "b" * 64
OURS = f"hostvm:engine:{IDENTITY}"


class FakeRoute:
    """Remembers what was to be done."""

    def __init__(self, *links: Link) -> None:
        self._links = links
        self.executed: list[Request] = []

    def links(self) -> list[Link]:
        return list(self._links)

    def find_link(self, name: str) -> Link | None:
        return next((link for link in self._links if link.name == name), None)

    def execute(self, *requests: Request) -> None:
        self.executed += requests


def network(bridge: str) -> Network:
    return Network(IDENTITY, "back", "bridge", 1, options={NAME_OPTION: bridge})


def removed(kind: str, alias: str) -> bool:
    route = FakeRoute(Link(7, "wg0", 0, 1500, kind, alias))
    BridgeDriver(cast(RouteSocket, route), "engine").remove(network("wg0"))
    assert route.executed in ([], [netlink.plan_delete_link("wg0")])
    return bool(route.executed)


@pytest.mark.parametrize(
    ("kind", "alias"),
    [("wireguard", ""), ("bridge", ""), ("bridge", f"hostvm:other:{IDENTITY}"), ("bridge", OURS[:-1]), ("dummy", OURS)],
)
def test_what_others_made_is_left_alone(kind: str, alias: str) -> None:
    """`-o com.docker.network.bridge.name` may name any interface of the host's."""
    assert not removed(kind, alias)


def test_our_own_bridge_goes() -> None:
    assert removed("bridge", OURS)


@pytest.mark.parametrize("name", ['a"b', "a{b", "a;b", "a b", "a/b", "a*", "..", "x" * 16, "a\n"])
def test_a_name_that_means_something_to_nft_or_the_kernel_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid bridge name"):
        BridgeDriver(cast(RouteSocket, FakeRoute()), "engine").check(network(name))


def test_ordinary_names_are_taken() -> None:
    for name in ("br0", "br-0.1_x", "x" * 15):
        BridgeDriver(cast(RouteSocket, FakeRoute()), "engine").check(network(name))
