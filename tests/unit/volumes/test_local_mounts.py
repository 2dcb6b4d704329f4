"""A local volume's options: what docker refuses, and what becomes of the rest."""

from __future__ import annotations

import pytest

from guest_agent.linux import mounts
from guest_agent.volumes.local_mounts import MountPlan, check_options, perform, plan_mount
from guest_agent.wire.errors import HostFailed, InvalidArgument


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"colour": "red"}, 'invalid option: "colour"'),
        ({"type": "nfs"}, 'missing required option: "device"'),
        ({"device": "/x"}, 'missing required option: "type"'),
        ({"o": "bind"}, 'missing required option: "device"'),
        ({"size": "1g"}, "quota size requested but no quota support"),
    ],
)
def test_options_that_docker_refuses(options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_options("vv", options)
    assert caught.value.message == f"create vv: {words}"


@pytest.mark.parametrize(
    ("options", "plan"),
    [
        ({}, None),
        ({"type": "", "device": "", "o": ""}, None),
        ({"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=5"}, MountPlan("tmpfs", "tmpfs", 0, "size=1m,uid=5")),
        (
            {"type": "none", "device": "/x", "o": "bind,ro,rslave"},
            MountPlan("/x", "none", mounts.MS_BIND | mounts.MS_RDONLY, "", mounts.MS_SLAVE | mounts.MS_REC),
        ),
    ],
)
def test_plans(options: dict[str, str], plan: MountPlan | None) -> None:
    check_options("vv", options)
    assert plan_mount(options) == plan


def test_a_device_that_is_not_there() -> None:
    plan = MountPlan("/nowhere", "none", mounts.MS_BIND, "x=y")
    with pytest.raises(HostFailed) as caught:
        perform(plan, "/target/_data", lambda path: None)
    assert caught.value.message == (
        "error while mounting volume '/target/_data': failed to mount local volume: mount /nowhere:/target/_data, "
        "flags: 0x1000, data: x=y: no such file or directory"
    )
