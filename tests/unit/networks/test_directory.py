"""Who is called what for whom."""

from __future__ import annotations

from guest_agent.networks.directory import Directory, Found
from guest_agent.networks.membership import publishing_endpoint
from guest_agent.networks.sandbox import free_interface, plan_ways_out
from guest_agent.wire.models import Endpoint


def endpoint(
    network: str,
    address: str,
    *names: str,
    internal: bool = False,
    links: tuple[str, ...] = (),
    six: str = "",
) -> Endpoint:
    return Endpoint(
        network, f"id of {network}", "", address, 24, "10.0.0.1", names=names, internal=internal, links=links,
        address6=six, host_interface="veth1",
    )  # fmt: skip


def directory(*entries: tuple[str, Endpoint]) -> Directory:
    made = Directory()
    for container_id, one in entries:
        made.enter(container_id, one)
    return made


def test_names_count_in_shared_networks_only() -> None:
    known = directory(
        ("web", endpoint("front", "10.1.0.2", "web")),
        ("db", endpoint("back", "10.2.0.2", "db", "all")),
        ("app", endpoint("front", "10.1.0.3", "app")),
        ("app", endpoint("back", "10.2.0.3", "app", "all")),
    )
    assert known.find("web", "db", 4) is None
    assert known.find("app", "db", 4) == known.find("app", "DB.back.", 4) == Found(("10.2.0.2",))
    assert known.find("db", "all", 4) == Found(("10.2.0.2", "10.2.0.3"))
    assert known.find("app", "app", 4) == Found(("10.2.0.3",))  # networks are asked by name
    assert known.find("app", "db", 6) == Found(())
    assert known.find("app", "db.front", 4) is None
    known.leave("db", "id of back")
    assert known.find("app", "db", 4) is None


def test_both_families_and_addresses_back() -> None:
    known = directory(
        ("db", endpoint("back", "10.2.0.2", "db", six="fd00::2")), ("app", endpoint("back", "10.2.0.3", "app"))
    )
    assert known.find("app", "db", 6) == Found(("fd00::2",))
    assert known.reverse("app", "10.2.0.2") == known.reverse("app", "fd00::2") == "db.back"
    assert known.reverse("app", "10.2.0.9") == known.reverse("app", "") == ""


def test_links_are_names_for_one_container_alone() -> None:
    known = directory(
        ("db", endpoint("back", "10.2.0.2", "database")),
        ("app", endpoint("back", "10.2.0.3", "app", links=("database:db",))),
    )
    assert known.find("app", "db", 4) == Found(("10.2.0.2",)) and known.find("db", "db", 4) is None


def test_internal_networks_ask_nobody_outside() -> None:
    known = directory(("in", endpoint("vault", "10.3.0.2", "in", internal=True)))
    assert not known.may_ask_outside("in") and known.may_ask_outside("unknown")
    known.enter("in", endpoint("bridge", "172.30.0.2"))
    assert known.may_ask_outside("in")


def test_the_way_out_and_the_ports_are_those_of_the_smallest_name() -> None:
    vault, back, front = endpoint("a", "10.1.0.2", internal=True), endpoint("b", "10.2.0.2"), endpoint("c", "10.3.0.2")
    assert plan_ways_out([front, vault, back]) == {4: ("eth0", "10.0.0.1")}
    assert publishing_endpoint([front, vault, back]) == back
    assert publishing_endpoint([vault]) is None and plan_ways_out([vault]) == {}


def test_interfaces_fill_gaps() -> None:
    assert free_interface(["eth0", "eth2"]) == "eth1" and free_interface([]) == "eth0"
