"""The engine's configuration in the guest: what the host hands over comes out of the TOML parser as it went in."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from guest_agent.boot.configuration import plan_config
from guest_agent.boot.system import plan_resolv_conf

TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20)


def test_a_host_without_settings_hands_over_none() -> None:
    assert tomllib.loads(plan_config("vm", {})) == {
        "machine": {
            "channel": "/run/hostvm/host.sock",
            "files": "/run/hostvm/files",
            "host_address": "10.0.2.2",
            "name": "vm",
        }
    }


@given(insecure=st.lists(TEXT, max_size=3), mirrors=st.dictionaries(TEXT, st.lists(TEXT, max_size=3), max_size=3))
def test_the_hosts_settings_arrive_unchanged(insecure: list[str], mirrors: dict[str, list[str]]) -> None:
    logs = {"driver": "local", "options": {"max-size": "1m"}}
    host = {"engine": {"subnet": "10.9.0.0/16"}, "logs": logs, "registries": {"insecure": insecure, "mirrors": mirrors}}
    arrived = tomllib.loads(plan_config("vm", {**host, "bootstrap": {}}))
    del arrived["machine"]
    assert arrived == host


def test_the_resolver_is_slirps_with_the_hosts_search_domains() -> None:
    assert plan_resolv_conf([]) == "nameserver 10.0.2.3\n"
    assert plan_resolv_conf(["a.example", "b.example"]) == "nameserver 10.0.2.3\nsearch a.example b.example\n"
