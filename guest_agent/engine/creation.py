"""From a request and an image to a container's record, by docker's rules (daemon/create.go, daemon/volumes_unix.go)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TypeVar

from guest_agent.engine.health import merge_healthcheck
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.models import ContainerConfig, ContainerPort, HostConfig, PortBinding

T = TypeVar("T")
_Words = tuple[str, ...] | None


def merge_config(wanted: ContainerConfig, image: ContainerConfig) -> ContainerConfig:
    """What the user said, completed by the image. Raises InvalidArgument where there is nothing to run."""
    entrypoint, command = _merge_command(wanted, image)
    if not entrypoint and not command:
        raise InvalidArgument("no command specified")
    return dataclasses.replace(
        wanted,
        entrypoint=entrypoint,
        command=command,
        environment=_merge_environment(wanted.environment, image.environment),
        exposed_ports=_union(image.exposed_ports, wanted.exposed_ports),
        volumes=_union(image.volumes, wanted.volumes),
        labels={**image.labels, **wanted.labels},
        working_dir=wanted.working_dir or image.working_dir,
        user=wanted.user or image.user,
        stop_signal=wanted.stop_signal or image.stop_signal,
        stop_timeout=wanted.stop_timeout if wanted.stop_timeout is not None else image.stop_timeout,
        healthcheck=merge_healthcheck(wanted.healthcheck, image.healthcheck),
        shell=wanted.shell or image.shell,
    )


def _merge_environment(wanted: tuple[str, ...], image: tuple[str, ...]) -> tuple[str, ...]:
    """The user's first, then what only the image has, as docker shows them; a bare name unsets the image's."""
    said = {variable.partition("=")[0] for variable in wanted}
    return (*wanted, *(variable for variable in image if variable.partition("=")[0] not in said))


def _merge_command(wanted: ContainerConfig, image: ContainerConfig) -> tuple[_Words, _Words]:
    entrypoint, command = wanted.entrypoint, wanted.command
    if not entrypoint and not command:
        command = image.command
    if entrypoint is None:
        entrypoint = image.entrypoint
    # `--entrypoint ""` arrives as [""]: it clears the image's.
    return (None if entrypoint == ("",) else entrypoint), command


def _union(first: Iterable[T], second: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def plan_argv(config: ContainerConfig) -> tuple[str, ...]:
    """What is executed: entrypoint, then command."""
    return (*(config.entrypoint or ()), *(config.command or ()))


def plan_port_bindings(config: ContainerConfig, host_config: HostConfig) -> tuple[PortBinding, ...]:
    """What is to be published; `-P` adds every exposed port that isn't named."""
    if not host_config.publish_all_ports:
        return host_config.port_bindings
    named = {binding.container_port for binding in host_config.port_bindings}
    rest = [PortBinding(port) for port in sorted(config.exposed_ports) if port not in named]
    return (*host_config.port_bindings, *rest)


def plan_exposed_ports(config: ContainerConfig, host_config: HostConfig) -> tuple[ContainerPort, ...]:
    """A published port counts as exposed."""
    return _union(config.exposed_ports, (binding.container_port for binding in host_config.port_bindings))
