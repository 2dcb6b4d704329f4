"""What `network create`, `network connect` and `run --network` send."""

from __future__ import annotations

import pytest

from hostvm.cli.parse import parse
from hostvm.cli.request.attachments import plan_connect, plan_endpoints
from hostvm.cli.request.networks import plan_network
from hostvm.cli.table import load


def planned(*words: str) -> dict[str, object]:
    return plan_network(parse(load("network create"), [*words, "back"]))


def test_every_subnet_has_what_lies_in_it() -> None:
    words = ("--subnet", "10.9.0.0/24,fd00:9::/64", "--gateway", "fd00:9::1", "--gateway", "10.9.0.1", "--ipv6")
    body = planned(
        *words, "--ip-range", "10.9.0.128/25", "--aux-address", "nas=10.9.0.9", "--label", "a=b", "-o", "x=y"
    )
    assert body["IPAM"] == {
        "Driver": "default",
        "Options": {},
        "Config": [
            {
                "Subnet": "10.9.0.0/24", "IPRange": "10.9.0.128/25", "Gateway": "10.9.0.1",
                "AuxiliaryAddresses": {"nas": "10.9.0.9"},
            },
            {"Subnet": "fd00:9::/64", "Gateway": "fd00:9::1"},
        ],
    }  # fmt: skip
    assert (body["Labels"], body["Options"], body["EnableIPv6"]) == ({"a": "b"}, {"x": "y"}, True)
    assert "Internal" not in body


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--gateway", "10.9.0.1"), "every ip-range or gateway must have a corresponding subnet"),
        (("--subnet", "10.9.0.0/24,10.9.0.0/25"), "multiple overlapping subnet configuration is not supported"),
        (("--subnet", "10.9.0.0/24", "--gateway", "10.8.0.1"), "no matching subnet for gateway 10.8.0.1"),
        (("--subnet", "10.9.0.0/24", "--ip-range", "10.8.0.0/25"), "no matching subnet for range 10.8.0.0/25"),
        (("--subnet", "10.9.0.0/24", "--aux-address", "a=10.8.0.1"), "no matching subnet for aux-address 10.8.0.1"),
        (("--subnet", "10.9.0.0"), "invalid CIDR address: 10.9.0.0"),
    ],
)
def test_refusals(words: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(ValueError) as refusal:
        planned(*words)
    assert str(refusal.value) == complaint


def endpoints(*words: str) -> tuple[str, dict[str, dict[str, object]]]:
    return plan_endpoints(parse(load("create"), [*words, "busybox"]))


def test_several_networks_with_their_own_settings() -> None:
    long = "name=back,alias=db,alias=store,ip=10.9.0.7,mac-address=02:aa:00:00:00:01,driver-opt=a=b"
    mode, found = endpoints("--network", "front", "--network", long, "--network-alias", "www", "--link", "x:y")
    assert mode == "front"
    assert found == {
        "front": {"Aliases": ["www"], "Links": ["x:y"]},
        "back": {
            "Aliases": ["db", "store"],
            "IPAMConfig": {"IPv4Address": "10.9.0.7"},
            "MacAddress": "02:aa:00:00:00:01",
            "DriverOpts": {"a": "b"},
        },
    }


def test_one_network_without_settings_is_only_the_mode() -> None:
    assert endpoints("--network", "back") == ("back", {}) and endpoints() == ("default", {})


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--network", "a", "--network", "a"), 'network "a" is specified multiple times'),
        (("--network", "a", "--network", "bridge"), "cannot attach both user-defined and non-user-defined"),
        (("--network", "name=a,ip=10.9.0.7", "--ip", "10.9.0.8"), "both --ip and per-network IPv4 address"),
    ],
)
def test_contradictions(words: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        endpoints(*words)


def test_a_connection() -> None:
    words = ["--alias", "a,b", "--link", "x:y", "--ip6", "fd00::7", "--link-local-ip", "169.254.1.1", "back", "web"]
    assert plan_connect(parse(load("network connect"), words)) == {
        "Container": "web",
        "EndpointConfig": {
            "Aliases": ["a", "b"],
            "Links": ["x:y"],
            "IPAMConfig": {"IPv6Address": "fd00::7", "LinkLocalIPs": ["169.254.1.1"]},
        },
    }
