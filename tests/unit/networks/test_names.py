"""resolv.conf and hosts by docker's rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.networks.dns import HEADER_SIZE, plan_failure
from guest_agent.networks.names import (
    ResolverSettings,
    is_stub_only,
    parse_resolv_conf,
    plan_host_network_hosts,
    plan_hosts,
    plan_resolver,
    with_host_names,
)

NOTHING = ResolverSettings()


def test_a_resolv_conf_is_read_as_resolvers_do() -> None:
    text = (
        "# comment\nnameserver 10.0.0.1 ; why\nnameserver nonsense\nnameserver fe80::1%eth0\n"
        "domain a.example\nsearch b.example c.example\noptions ndots:2 edns0\noptions rotate\nnameserver\n"
    )
    assert parse_resolv_conf(text) == ResolverSettings(
        ("10.0.0.1", "fe80::1%eth0"), ("b.example", "c.example"), ("ndots:2", "edns0", "rotate")
    )


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    parse_resolv_conf(text)


words = st.from_regex(r"[a-z][a-z0-9.:-]{0,10}", fullmatch=True)


@given(st.lists(st.ip_addresses().map(str)), st.lists(words), st.lists(words))
def test_what_is_written_is_read_back(servers: list[str], search: list[str], options: list[str]) -> None:
    settings = ResolverSettings(tuple(servers), tuple(search), tuple(options))
    assert parse_resolv_conf(settings.text()) == settings


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (("10.0.0.1", "10.0.0.2"), ("10.0.0.1", "10.0.0.2")),
        (("127.0.0.1", "10.0.0.2"), ("10.0.0.2",)),
        (("127.0.0.53",), ("127.0.0.11",)),
        (("::1", "fe80::1%eth0", "2001:db8::1"), ("127.0.0.11",)),
        ((), ("127.0.0.11",)),
    ],
)
def test_the_hosts_own_servers_are_left_out(host: tuple[str, ...], expected: tuple[str, ...]) -> None:
    planned = plan_resolver(ResolverSettings(host), NOTHING, own_namespace=True)
    assert planned.servers == expected
    assert planned.wants_forwarder is (expected == ("127.0.0.11",))


def test_what_is_asked_for_replaces_the_hosts() -> None:
    host = ResolverSettings(("10.0.0.1",), ("a.example",), ("ndots:2",))
    asked = ResolverSettings(("127.0.0.1",), (".",), ("rotate",))
    planned = plan_resolver(host, asked, own_namespace=True)
    assert planned == ResolverSettings(("127.0.0.1",), (), ("rotate",))
    assert plan_resolver(host, NOTHING, own_namespace=True) == host


def test_on_the_hosts_network_nothing_is_left_out() -> None:
    host = ResolverSettings(("127.0.0.53",))
    assert plan_resolver(host, NOTHING, own_namespace=False) == host


def test_a_host_behind_systemd_resolved_is_known() -> None:
    assert is_stub_only(ResolverSettings(("127.0.0.53",)))
    assert not is_stub_only(ResolverSettings(("127.0.0.53", "10.0.0.1")))


def test_hosts_has_dockers_lines_in_dockers_order() -> None:
    extra = ("db:10.0.0.9", "v6:[2001:db8::1]", "host.docker.internal:host-gateway")
    lines = plan_hosts("box", ["172.30.0.2"], extra, "172.30.0.1", "example.com").splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[-4:] == [
        "10.0.0.9\tdb",
        "2001:db8::1\tv6",
        "172.30.0.1\thost.docker.internal",
        "172.30.0.2\tbox.example.com box",
    ]
    assert len(lines) == 10
    assert plan_hosts("box.example.com", ["172.30.0.2"]).splitlines()[-1] == "172.30.0.2\tbox.example.com box"


def test_on_the_hosts_network_its_file_is_kept() -> None:
    assert plan_host_network_hosts("127.0.0.1 localhost", ["db:10.0.0.9"]) == "127.0.0.1 localhost\n10.0.0.9\tdb\n"


@given(st.binary(min_size=HEADER_SIZE, max_size=64))
def test_a_failure_answers_the_very_query(query: bytes) -> None:
    answer = plan_failure(query)
    assert len(answer) == len(query) and answer[:2] == query[:2]
    assert answer[2] & 0x80 and answer[3] & 0xF == 2


def test_in_a_machine_the_users_host_has_docker_desktops_names() -> None:
    extra = ("db:10.0.0.9", "gateway.docker.internal:10.9.9.9")
    assert with_host_names(extra, "10.0.2.2") == [*extra, "host.docker.internal:10.0.2.2"]
    assert with_host_names(extra, "") == list(extra)
    lines = plan_hosts("box", ["172.17.0.2"], ["x:host-gateway"], "10.0.2.2")
    assert "10.0.2.2\tx\n" in lines
