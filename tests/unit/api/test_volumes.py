"""Which volumes somebody mounts."""

from __future__ import annotations

import dataclasses

from guest_agent.api.volumes import count_users
from guest_agent.wire.mounts import MountPoint, MountType
from tests.unit.engine.records import container


def point(name: str, destination: str) -> MountPoint:
    return MountPoint(MountType.VOLUME if name else MountType.BIND, destination, f"/somewhere/{name}", name)


def test_a_container_counts_once_however_often_it_mounts_a_volume() -> None:
    first = dataclasses.replace(container(), mount_points=(point("data", "/a"), point("data", "/b"), point("", "/c")))
    second = dataclasses.replace(container(), mount_points=(point("data", "/a"), point("other", "/b")))
    assert count_users([first, second]) == {"data": 2, "other": 1}
