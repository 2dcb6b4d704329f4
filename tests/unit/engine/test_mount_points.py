"""Which mounts a container gets, and what takes whose place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guest_agent.engine.mount_points import parse_volumes_from, plan_inherited, plan_points
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerConfig, HostConfig
from guest_agent.wire.mounts import MountPoint, MountRequest, MountType, ReadOnlyDepth
from tests.unit.engine.records import container

VOLUME, BIND = MountType.VOLUME, MountType.BIND


def test_an_image_that_declares_a_volume_twice_gets_one() -> None:
    mine = MountRequest(BIND, "/mine/", "/host")
    planned = plan_points(ContainerConfig(volumes=("/data", "/data/", "/mine")), HostConfig(mounts=(mine,)))
    assert [(point.type, point.destination, point.anonymous) for point in planned] == [
        ("bind", "/mine", False), ("volume", "/data", True),
    ]  # fmt: skip


def test_a_tmpfs_keeps_a_declared_volume_away() -> None:
    assert plan_points(ContainerConfig(volumes=("/data",)), HostConfig(tmpfs={"/data/": ""})) == ()


@pytest.mark.parametrize("targets", [("relative",), ("/",), ("/a/..",), ("/a", "/a/"), ("//",)])
def test_targets_that_are_none(targets: tuple[str, ...]) -> None:
    mounts = tuple(MountRequest(MountType.TMPFS, target) for target in targets)
    with pytest.raises(InvalidArgument):
        plan_points(ContainerConfig(), HostConfig(mounts=mounts))


def test_others_mounts_come_first_and_the_users_take_their_place() -> None:
    donor = replace(
        container(),
        mount_points=(
            MountPoint(VOLUME, "/data", "/v/_data", "v", "local", mode="z", anonymous=True, fill=True),
            MountPoint(BIND, "/src", "/host", propagation="rslave"),
        ),
    )
    inherited = plan_inherited(donor, read_only=True)
    points = plan_points(
        ContainerConfig(volumes=("/data",)), HostConfig(mounts=(MountRequest(BIND, "/src", "/mine"),)), inherited
    )
    assert points == (
        MountPoint(VOLUME, "/data", "/v/_data", "v", "local", read_only=True, anonymous=True),
        MountPoint(BIND, "/src", "/mine", propagation="rprivate"),
    )


def test_a_volume_has_dockers_mode_and_is_filled() -> None:
    requests = (
        MountRequest(VOLUME, "/a", "named"),
        MountRequest(VOLUME, "/b", "named", no_copy=True, mode="nocopy"),
        MountRequest(BIND, "/c", "/c", read_only=True, depth=ReadOnlyDepth.READONLY),
    )
    a, b, c = plan_points(ContainerConfig(), HostConfig(mounts=requests))
    assert (a.mode, a.fill, a.anonymous) == ("z", True, False)
    assert (b.mode, b.fill) == ("nocopy", False)
    assert (c.mode, c.depth, c.read_only) == ("", ReadOnlyDepth.READONLY, True)


@pytest.mark.parametrize(
    ("text", "parsed"), [("a", ("a", "rw")), ("a:ro", ("a", "ro")), ("a:rw,z", ("a", "rw")), ("a:", ("a", "rw"))]
)
def test_volumes_from(text: str, parsed: tuple[str, str]) -> None:
    assert parse_volumes_from(text) == parsed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "volumes-from specification cannot be an empty string"),
        ("a:rslave", "invalid mode: rslave"),
        ("a:nocopy", "invalid mode: nocopy"),
        ("a:ro,rw", "invalid mode: ro,rw"),
    ],
)
def test_volumes_from_that_docker_refuses(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse_volumes_from(text)
