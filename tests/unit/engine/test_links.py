"""Links go by their names."""

from __future__ import annotations

import dataclasses

import pytest

from guest_agent.engine.links import parse_link_name, renew_hosts, with_renamed_links, without_link
from guest_agent.wire.errors import HostFailed, NotFound
from guest_agent.wire.models import HostConfig
from tests.unit.engine.records import container


def test_a_link_goes_by_its_alias() -> None:
    before = dataclasses.replace(container(), host_config=HostConfig(links=("db", "cache:store", "/q:/box/queue")))
    assert without_link(before, "store").host_config.links == ("db", "/q:/box/queue")
    assert without_link(before, "queue").host_config.links == ("db", "cache:store")
    assert without_link(before, "db").host_config.links == ("cache:store", "/q:/box/queue")
    with pytest.raises(NotFound, match="No such container: box/cache"):
        without_link(before, "cache")


def test_a_link_to_a_renamed_container_keeps_its_alias() -> None:
    before = dataclasses.replace(container(), host_config=HostConfig(links=("db", "/db:/box/store", "dbs:db")))
    assert with_renamed_links(before, "db", "new").host_config.links == ("new:db", "new:store", "dbs:db")
    in_network = dataclasses.replace(before, host_config=HostConfig(links=("db",), network_mode="named"))
    assert with_renamed_links(in_network, "db", "new") == in_network


def test_the_name_of_a_link() -> None:
    assert parse_link_name("box/db") == parse_link_name("/box/db") == ("box", "db")
    with pytest.raises(HostFailed, match="cannot remove the default link name"):
        parse_link_name("/box")


def test_a_linked_container_with_another_address() -> None:
    text = "127.0.0.1\tlocalhost\n10.0.0.2\tdb 5f0c database\n10.0.0.2 mine db\n# db\n\n10.0.0.3\tdb2"
    new = text.replace("10.0.0.2\tdb", "10.0.0.9\tdb")
    assert renew_hosts(text, {"db"}, "10.0.0.9") == new
    assert renew_hosts(text, {"store"}, "10.0.0.9") == text
