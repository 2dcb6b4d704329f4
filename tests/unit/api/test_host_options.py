"""The less common parts of a HostConfig: in and out again, refused in dockerd's words, and as old clients mean them."""

from __future__ import annotations

import dataclasses

import pytest

from guest_agent.api.fields import read_fields
from guest_agent.api.old_versions import adapt_create, adapt_update
from guest_agent.api.parse_config import parse_config, parse_create, parse_host_config, parse_update
from guest_agent.api.parse_mounts import is_mode
from guest_agent.api.render_config import render_host_config
from guest_agent.engine.host_settings import plan_security_options
from guest_agent.engine.requests import CreateRequest, UpdateRequest
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import HostConfig, RestartCondition
from guest_agent.wire.mounts import ReadOnlyDepth
from guest_agent.wire.resources import LIFTED, Resources

FULL: dict[str, object] = {
    "Mounts": [
        {
            "Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True, "Consistency": "cached",
            "BindOptions": {
                "Propagation": "rprivate", "NonRecursive": True, "CreateMountpoint": True,
                "ReadOnlyForceRecursive": True,
            },
        },
        {
            "Type": "volume", "Source": "vv", "Target": "/v",
            "VolumeOptions": {
                "NoCopy": True, "Labels": {"a": "b"}, "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs"}},
            },
        },
        {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 3 << 20, "Mode": 0o1700}},
    ],
    "Tmpfs": {"/u": "size=1m"},
    "VolumesFrom": ["donor:ro"],
    "VolumeDriver": "local",
    "CgroupParent": "/parent",
    "Runtime": "runc",
    "Isolation": "default",
    "StorageOpt": {"size": "1g"},
    "Annotations": {"a": "b"},
    "ContainerIDFile": "/tmp/cid",
    "Init": False,
    "BlkioWeightDevice": [{"Path": "/dev/a", "Weight": 10}],
    "BlkioDeviceReadBps": [{"Path": "/dev/a", "Rate": 1}],
    "BlkioDeviceWriteBps": [{"Path": "/dev/a", "Rate": 2}],
    "BlkioDeviceReadIOps": [{"Path": "/dev/a", "Rate": 3}],
    "BlkioDeviceWriteIOps": [{"Path": "/dev/a", "Rate": 4}],
    "CpuRealtimePeriod": 5,
    "CpuRealtimeRuntime": 4,
    "CpuCount": 1,
    "CpuPercent": 2,
    "IOMaximumIOps": 3,
    "IOMaximumBandwidth": 4,
    "DeviceCgroupRules": ["c 1:* rwm"],
    "DeviceRequests": [
        {"Driver": "nvidia", "Count": -1, "DeviceIDs": ["0"], "Capabilities": [["gpu"]], "Options": {"a": "b"}}
    ],
}  # fmt: skip


def test_what_went_in_comes_out() -> None:
    rendered = render_host_config(parse_host_config(read_fields(FULL)), "crun")
    assert {name: rendered[name] for name in FULL} == FULL


def test_the_options_of_a_tmpfs() -> None:
    host = parse_host_config(read_fields(FULL))
    assert host.mounts[2].options == "mode=1700,size=3m"
    read_only = {"Mounts": [{"Type": "tmpfs", "Target": "/t", "ReadOnly": True, "TmpfsOptions": {"SizeBytes": 1025}}]}
    assert parse_host_config(read_fields(read_only)).mounts[0].options == "ro,size=1025"


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ({"Type": "bind", "Source": "/a", "Target": "/"}, "invalid specification: destination can't be '/'"),
        ({"Type": "bind", "Source": "/a", "Target": ""}, "field Target must not be empty"),
        ({"Type": "bind", "Source": "a", "Target": "/b"}, "invalid mount path: 'a' mount path must be absolute"),
        (
            {"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {"Propagation": "far"}},
            "invalid propagation mode: far",
        ),
        ({"Type": "volume", "Target": "/b", "BindOptions": {}}, 'BindOptions must not be specified on mount type "vol'),
        ({"Type": "bind", "Target": "/b", "VolumeOptions": {}}, 'VolumeOptions must not be specified on mount type "b'),
        ({"Type": "volume", "Target": "/b", "TmpfsOptions": {}}, 'TmpfsOptions must not be specified on mount type "v'),
        ({"Type": "tmpfs", "Source": "x", "Target": "/b"}, "field Source must not be specified"),
        ({"Type": "volume", "Target": "/b", "ReadOnly": True}, "must not set ReadOnly mode when using anonymous volum"),
        (
            {"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {"ReadOnlyNonRecursive": True}},
            "mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive",
        ),
        (
            {
                "Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True,
                "BindOptions": {"ReadOnlyNonRecursive": True, "ReadOnlyForceRecursive": True},
            },
            "mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive",
        ),
    ],
)  # fmt: skip
def test_mounts_that_are_refused(mount: object, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_host_config(read_fields({"Mounts": [mount]}))
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"Binds": ["/a:ro"]}, "invalid volume specification: '/a:ro'"),
        ({"Binds": ["/a:/b"], "Tmpfs": {"/b/": ""}}, "Duplicate mount point: /b"),
        ({"Tmpfs": {"/": ""}}, "invalid specification: destination can't be '/'"),
        ({"Tmpfs": {"x": ""}}, "invalid mount path: 'x' mount path must be absolute"),
        ({"Isolation": "hyperv"}, "Invalid isolation: \"hyperv\" - linux only supports 'default'"),
        ({"DeviceRequests": [{"Capabilities": ["gpu"]}]}, "of type [][]string"),
        ({"BlkioDeviceReadBps": [{"Path": "/a", "Rate": -1}]}, "of type uint64"),
    ],
)
def test_host_configs_that_are_refused(host: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_host_config(read_fields(host))
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("mode", "known"), [("", True), ("ro,z,rslave,nocopy,cached", True), ("ro,rw", False), ("z,Z", False), ("x", False)]
)
def test_modes(mode: str, known: bool) -> None:
    assert is_mode(mode) is known


def test_labels_go_where_namespaces_are_shared() -> None:
    assert plan_security_options(HostConfig()) == ()
    assert plan_security_options(HostConfig(privileged=True, security_opt=("a=b",))) == ("a=b", "label=disable")
    assert plan_security_options(HostConfig(pid_mode="host", security_opt=("label=user:x",))) == ("label=user:x",)


def test_an_update_is_parsed() -> None:
    request = parse_update(read_fields({"Memory": 7, "PidsLimit": -1, "RestartPolicy": {"Name": "always"}}))
    assert (request.resources.memory, request.resources.pids_limit) == (7, LIFTED)
    assert request.restart_policy is not None and request.restart_policy.condition is RestartCondition.ALWAYS
    nothing = parse_update(read_fields({"PidsLimit": None, "RestartPolicy": {}}))
    assert (nothing.resources.pids_limit, nothing.restart_policy) == (0, None)


def test_a_limit_of_nothing_is_none() -> None:
    for limit in (0, -1):
        assert parse_host_config(read_fields({"PidsLimit": limit})).resources.pids_limit == 0


def test_an_annotation_has_a_name() -> None:
    with pytest.raises(InvalidArgument, match="the empty string is not permitted as an annotation key"):
        parse_host_config(read_fields({"Annotations": {"": "a"}}))


def test_a_working_directory_is_cleaned() -> None:
    assert parse_config(read_fields({"WorkingDir": "//tmp/./x/"})).working_dir == "/tmp/x"


# -- older clients


def test_options_may_stand_beside_the_host_config_that_is_missing() -> None:
    """docker-py's create_container(runtime=…)."""
    assert parse_create("x", read_fields({"Image": "i", "Runtime": "runc"})).host_config.runtime == "runc"
    assert parse_create("x", read_fields({"Image": "i", "Memory": 7 << 20})).host_config.resources.memory == 7 << 20
    both = {"Image": "i", "Runtime": "nvidia", "HostConfig": {"Runtime": "crun"}}
    assert parse_create("x", read_fields(both)).host_config.runtime == "crun"


def created(version: tuple[int, int], **host: object) -> CreateRequest:
    request = parse_create("x", read_fields({"Image": "i", "HostConfig": host}), "linux/amd64")
    return adapt_create(request, version, "1")


BIND = {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True}


def test_the_present_version_is_left_alone() -> None:
    host = created((1, 44), Mounts=[BIND], Annotations={"a": "b"}).host_config
    assert host.mounts[0].depth is ReadOnlyDepth.ENABLED and host.annotations


def test_older_versions() -> None:
    options = {"CreateMountpoint": True, "NonRecursive": True}
    host = created(
        (1, 39), Mounts=[{**BIND, "BindOptions": options}], Annotations={"a": "b"}, ConsoleSize=[1, 2],
        Binds=["/c:/d"],
    ).host_config  # fmt: skip
    bind, mount = host.mounts
    assert (mount.depth, mount.create_source, mount.non_recursive) == (ReadOnlyDepth.OLD, False, False)
    assert bind.create_source
    assert (host.annotations, host.console_size) == ({}, (0, 0))
    assert (host.ipc_mode, host.cgroupns_mode) == ("shareable", "host")
    assert created((1, 40)).platform == "" and created((1, 41)).platform == "linux/amd64"
    assert created((1, 24), AutoRemove=True).host_config.auto_remove is False


def test_what_came_with_1_44() -> None:
    check = {"Test": ["CMD", "true"], "StartInterval": 2_000_000}
    body = {"Image": "i", "Healthcheck": check, "NetworkingConfig": {"EndpointsConfig": {"a": {}, "b": {}}}}
    request = parse_create("x", read_fields(body), "")
    with pytest.raises(InvalidArgument, match="Container cannot be created with multiple network endpoints: a, b"):
        adapt_create(request, (1, 43), "1")
    assert adapt_create(request, (1, 44), "1") == request
    adapted = adapt_create(dataclasses.replace(request, networks=request.networks[:1]), (1, 43), "1").config
    assert adapted.healthcheck is not None and adapted.healthcheck.start_interval == 0


def test_an_old_update_does_not_count_processes() -> None:
    request = UpdateRequest(Resources(memory=7, pids_limit=9))
    assert adapt_update(request, (1, 40)) == request
    assert adapt_update(request, (1, 39)).resources == Resources(memory=7)


def test_a_depth_that_an_old_client_cannot_mean() -> None:
    options = {"ReadOnlyForceRecursive": True}
    with pytest.raises(InvalidArgument, match=r"BindOptions\.ReadOnlyForceRecursive needs API v1\.44 or newer"):
        created((1, 43), Mounts=[{**BIND, "BindOptions": options}])
