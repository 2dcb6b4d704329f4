"""The pure halves: times, status texts, ports, filters, and a create that comes back from inspect as it went in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.api.fields import read_fields
from guest_agent.api.filters import parse_filters
from guest_agent.api.image_list import matches
from guest_agent.api.parse_config import parse_config, parse_create, parse_ports
from guest_agent.api.query import Query
from guest_agent.api.render_config import render_config, render_host_config
from guest_agent.api.render_container import command_text, list_ports, status_text
from guest_agent.api.render_endpoints import render_networks
from guest_agent.api.times import human_duration, parse_moment, parse_timestamp
from guest_agent.engine.container import Container, State, Status
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerConfig, ContainerId, ContainerPort, HostConfig, ImageId, PublishedPort
from guest_agent.wire.mounts import MountType
from guest_agent.wire.networks import EndpointSettings
from guest_agent.wire.times import SECOND, rfc3339, rfc3339_padded

NOW = 1_700_000_000 * SECOND


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (119, "About a minute"),
        (120, "2 minutes"), (3599, "59 minutes"), (3600, "About an hour"), (5399, "About an hour"), (5400, "2 hours"),
        (47 * 3600, "47 hours"), (48 * 3600, "2 days"), (13 * 86400, "13 days"), (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"), (729 * 86400, "24 months"), (800 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_durations_as_go_units_says_them(seconds: int, text: str) -> None:
    assert human_duration(seconds * SECOND) == text


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (State(), "Created"),
        (State(Status.RUNNING, started_ns=NOW - 120 * SECOND), "Up 2 minutes"),
        (State(Status.PAUSED, started_ns=NOW - 120 * SECOND), "Up 2 minutes (Paused)"),
        (State(Status.EXITED, exit_code=3, started_ns=1, finished_ns=NOW - 3 * SECOND), "Exited (3) 3 seconds ago"),
        (State(Status.RESTARTING, exit_code=1, finished_ns=NOW), "Restarting (1) Less than a second ago"),
        (State(Status.REMOVING), "Removal In Progress"),
        (State(Status.DEAD), "Dead"),
    ],
)
def test_status_texts(state: State, text: str) -> None:
    assert status_text(state, NOW) == text


def test_times() -> None:
    assert rfc3339(0) == "0001-01-01T00:00:00Z"
    assert rfc3339(NOW) == "2023-11-14T22:13:20Z"
    assert rfc3339(NOW + 120_000_000) == "2023-11-14T22:13:20.12Z"
    assert rfc3339_padded(NOW) == "2023-11-14T22:13:20.000000000Z"
    assert parse_timestamp("1700000000.5") == NOW + SECOND // 2
    assert parse_timestamp("2023-11-14T23:13:20.000000001+01:00") == NOW + 1
    assert parse_moment("1h30m", NOW) == NOW - 5400 * SECOND
    with pytest.raises(InvalidArgument):
        parse_timestamp("yesterday")


@given(st.integers(min_value=1, max_value=4_000_000_000 * SECOND))
def test_a_rendered_time_reads_back(moment: int) -> None:
    assert parse_timestamp(rfc3339(moment)) == moment


def test_commands_are_quoted_as_in_ps() -> None:
    assert command_text("sh", ("-c", "echo hi")) == "sh -c 'echo hi'"


def test_a_place_in_a_network_has_the_id_as_an_alias_once_it_has_run() -> None:
    """compose v1 joins a container anew, with links and all, as long as its id isn't there."""
    aliases = {}
    for started in (0, NOW):
        container = Container(
            ContainerId("ab" * 32), "web", 1, ImageId("i"), "i", ContainerConfig(), HostConfig(), "sh", (),
            networks=(EndpointSettings("front", aliases=("www",)),), state=State(started_ns=started),
        )  # fmt: skip
        aliases[started] = render_networks(container)["front"]["Aliases"]
    assert aliases == {0: ["www"], NOW: ["www", "ab" * 6]}


def test_ports_of_a_list() -> None:
    web, dns = ContainerPort(80), ContainerPort(53)
    config = ContainerConfig(exposed_ports=(web, dns))
    container = Container(
        ContainerId("a"), "web", 1, ImageId("i"), "i", config, HostConfig(), "sh", (),
        ports=(PublishedPort(web, "0.0.0.0", 8080),), state=State(Status.RUNNING),
    )  # fmt: skip
    assert list_ports(container) == [
        {"PrivatePort": 53, "Type": "tcp"},
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
    ]


# -- the query


def test_filters_come_in_two_forms() -> None:
    allowed = frozenset({"name", "label"})
    old, new = '{"name": ["a", "b"]}', '{"name": {"a": true, "b": true, "c": false}}'
    assert parse_filters(old, allowed)["name"] == parse_filters(new, allowed)["name"] == ("a", "b")


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "a"}', '{"name": [1]}', '{"color": ["red"]}', "[" * 100_000])
def test_bad_filters_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_filters(text, frozenset({"name"}))


def test_truth_values_of_a_query() -> None:
    query = Query("a=1&b=0&c=false&d=True&e=&f=yes&g=none")
    assert [query.flag(name) for name in "abcdefgh"] == [True, False, False, True, False, True, False, False]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("busybox", True),
        ("busy*", True),
        ("busybox:1", True),
        ("busybox:2", False),
        ("*:1", True),
        ("a/busybox", False),
    ],
)
def test_reference_patterns(pattern: str, found: bool) -> None:
    assert matches("busybox:1", pattern) is found


# -- create


FULL = {
    "Image": "busybox",
    "Cmd": ["echo", "hi"],
    "Entrypoint": "sh",
    "Env": ["A=1"],
    "Labels": {"a": "b"},
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/data": {}},
    "StopTimeout": 3,
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000},
    "Unknown": "is ignored",
    "HostConfig": {
        "Binds": ["/host:/inside:ro,rslave", "named:/data2", "/anonymous"],
        "Mounts": [{"Type": "bind", "Source": "/x", "Target": "/y", "BindOptions": {"Propagation": "rslave"}}],
        "Tmpfs": {"/tmp": "size=1m"},
        "PortBindings": {
            "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000-8010"}],
            "53/udp": [{"HostIp": "", "HostPort": ""}, {"HostIp": "", "HostPort": "5353/tcp"}],
        },
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
        "Memory": 8 << 20,
        "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
        "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        "ConsoleSize": [24, 80],
        "Dns": [],
        "DnsSearch": ["lan"],
        "Init": True,
    },
    "NetworkingConfig": {"EndpointsConfig": {"bridge": {"Aliases": ["db"]}}},
}


def test_a_create_is_parsed() -> None:
    request = parse_create("web", read_fields(FULL), "linux/amd64")
    host = request.host_config
    assert request.config.entrypoint == ("sh",) and request.networks[0].aliases == ("db",)
    assert [(m.type, m.source, m.target) for m in host.mounts] == [
        (MountType.BIND, "/host", "/inside"),
        (MountType.VOLUME, "named", "/data2"),
        (MountType.VOLUME, "", "/anonymous"),
        (MountType.BIND, "/x", "/y"),
    ]
    assert host.tmpfs == {"/tmp": "size=1m"}
    assert (host.mounts[0].read_only, host.mounts[0].propagation) == (True, "rslave")
    assert host.mounts[0].create_source and not host.mounts[3].create_source
    assert [(b.host_port, b.host_port_end) for b in host.port_bindings] == [(8000, 8010), (0, 0), (5353, 0)]


def test_what_was_created_comes_back_from_inspect() -> None:
    request = parse_create("web", read_fields(FULL))
    config, host = render_config(request.config), render_host_config(request.host_config, "crun")
    assert parse_config(read_fields(config)) == request.config
    for name in ("Binds", "Mounts", "Tmpfs", "PortBindings", "RestartPolicy", "Ulimits", "Devices", "LogConfig"):
        assert host[name] == FULL["HostConfig"][name], name  # type: ignore[index]
    assert (host["Dns"], host["DnsSearch"], host["DnsOptions"]) == ([], ["lan"], None), "null stays null"


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"Memory": "1g"}, "cannot unmarshal string into Go struct field HostConfig.Memory of type int64"),
        ({"Binds": ["a:b:c:d"]}, "invalid volume specification: 'a:b:c:d'"),
        ({"Binds": ["/a:b"]}, "mount path must be absolute"),
        ({"Binds": ["/a:/"]}, "destination can't be '/'"),
        ({"Binds": ["./a:/b"]}, "If you intended to pass a host directory, use absolute path"),
        ({"Binds": ["/a:/b:zz"]}, "invalid mode: zz"),
        ({"Binds": ["/a:/b", "/c:/b/"]}, "Duplicate mount point: /b"),
        ({"Mounts": [{"Type": "fish", "Target": "/a"}]}, "mount type unknown"),
        ({"Mounts": [{"Type": "bind", "Target": "/a"}]}, "field Source must not be empty"),
        ({"Mounts": [{"Type": "tmpfs", "Target": "a"}]}, "mount path must be absolute"),
        ({"RestartPolicy": {"Name": "sometimes"}}, "unknown policy 'sometimes'"),
        ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 1}}, "can only be used with 'on-failure'"),
        ({"RestartPolicy": {"Name": "always"}, "AutoRemove": True}, "can't create 'AutoRemove' container"),
        ({"PortBindings": {"http": []}}, 'invalid port specification: "http"'),
        ({"PortBindings": {"80": [{"HostPort": "70000"}]}}, 'invalid port specification: "70000"'),
        ({"PortBindings": {"80": {}}}, "cannot unmarshal object into Go struct field HostConfig.PortBindings.80"),
        ({"ExtraHosts": ["nonsense"]}, 'bad format for add-host: "nonsense"'),
        ({"ShmSize": -1}, "SHM size can not be less than 0"),
        ({"OomScoreAdj": 2000}, "range for oom score adj is [-1000, 1000]"),
    ],
)  # fmt: skip
def test_bad_host_configs_are_refused_in_dockers_words(host: object, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_create("x", read_fields({"Image": "i", "HostConfig": host}))
    assert message in caught.value.message and "\n" not in caught.value.message


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_names = sorted({*FULL, *FULL["HostConfig"], "Source", "Target", "Type"})  # type: ignore[misc]


@given(st.dictionaries(st.sampled_from(_names), _json), st.dictionaries(st.sampled_from(_names), _json))
def test_any_json_is_a_request_or_an_invalid_argument(body: dict[str, object], host: dict[str, object]) -> None:
    try:
        request = parse_create("x", read_fields({**body, "HostConfig": host}))
    except InvalidArgument as error:
        assert error.message
        return
    json.dumps([render_config(request.config), render_host_config(request.host_config, "crun")])


@given(st.integers(1, 65535), st.integers(0, 20), st.sampled_from(["tcp", "udp"]))
def test_port_ranges(first: int, length: int, protocol: str) -> None:
    last = min(first + length, 65535)
    ports = parse_ports(f"{first}-{last}/{protocol}")
    assert [port.number for port in ports] == list(range(first, last + 1))
    assert {str(port.protocol) for port in ports} == {protocol}
