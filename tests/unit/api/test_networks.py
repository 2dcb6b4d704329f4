"""Docker's endpoints of networks, with an engine in memory."""

from __future__ import annotations

from guest_agent.wire.networks import EndpointSettings
from tests.unit.api.conftest import Api


def test_networks(api: Api) -> None:
    _, listed = api.call("GET", "/networks", filters={"driver": ["bridge"]})
    assert isinstance(listed, list) and [one["Name"] for one in listed] == ["bridge"]
    _, bridge = api.call("GET", "/networks/bridge")
    assert isinstance(bridge, dict) and bridge["Containers"]["a" * 64]["IPv4Address"] == "172.30.0.2/16"
    assert bridge["IPAM"]["Config"] == [{"Subnet": "172.30.0.0/16", "Gateway": "172.30.0.1"}]


NETWORK = {
    "Name": "back", "Driver": "bridge", "Internal": True, "EnableIPv6": True, "Labels": {"tier": "db"},
    "IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "Gateway": "10.9.0.1", "AuxiliaryAddresses": {"nas": "10.9.0.9"}}]},
    "Options": {"com.docker.network.driver.mtu": "1400"},
}  # fmt: skip


def test_a_network_is_made_shown_and_pruned(api: Api) -> None:
    status, made = api.call("POST", "/networks/create", NETWORK)
    assert status == 201 and isinstance(made, dict) and set(made) == {"Id", "Warning"}
    _, shown = api.call("GET", "/networks/back")
    assert isinstance(shown, dict) and shown["IPAM"]["Config"] == NETWORK["IPAM"]["Config"]  # type: ignore[index]
    assert (shown["Internal"], shown["EnableIPv6"], shown["Labels"]) == (True, True, {"tier": "db"})
    _, kept = api.call("POST", "/networks/prune", filters={"label!": ["tier=db"]})
    assert kept == {"NetworksDeleted": None}
    assert api.call("POST", "/networks/prune") == (200, {"NetworksDeleted": ["back"]})


def test_a_container_is_connected_and_disconnected(api: Api) -> None:
    place = {"Aliases": ["db"], "IPAMConfig": {"IPv4Address": "10.9.0.7"}, "MacAddress": "02-AA-00-00-00-01"}
    assert api.call("POST", "/networks/bridge/connect", {"Container": "web", "EndpointConfig": place})[0] == 200
    assert api.call("POST", "/networks/bridge/disconnect", {"Container": "web", "Force": True})[0] == 200
    wanted = EndpointSettings("bridge", aliases=("db",), address="10.9.0.7", mac_address="02:aa:00:00:00:01")
    assert api.engine.networks.calls == [("connect", "bridge", "web", wanted), ("disconnect", "bridge", "web", True)]


def test_what_is_no_address_is_refused(api: Api) -> None:
    body = {
        "Container": "web",
        "EndpointConfig": {"IPAMConfig": {"IPv4Address": "fd00::1", "IPv6Address": "::ffff:1.2.3.4"}},
    }
    status, message = api.message("POST", "/networks/bridge/connect", body)
    assert status == 400 and "* invalid IPv4 address: fd00::1\n* invalid IPv6 address: ::ffff:1.2.3.4" in message
