"""Containers as the tests need them."""

from __future__ import annotations

from guest_agent.engine.container import Container, State, Status
from guest_agent.wire.models import ContainerConfig, ContainerId, HostConfig, ImageId, RestartCondition, RestartPolicy


def container(
    status: Status = Status.CREATED,
    name: str = "box",
    identity: str = "ab" * 32,
    condition: RestartCondition = RestartCondition.NO,
    retries: int = 0,
    **state: int | bool,
) -> Container:
    return Container(
        id=ContainerId(identity),
        name=name,
        created_ns=1,
        image_id=ImageId("sha256:" + "0" * 64),
        image_name="busybox",
        config=ContainerConfig(),
        host_config=HostConfig(restart_policy=RestartPolicy(condition, retries)),
        path="true",
        args=(),
        state=State(status=status, **state),  # type: ignore[arg-type]
    )
