"""From a create request to a stored record: the image is there, names and modes are resolved, volumes exist."""

from __future__ import annotations

import dataclasses
import os
import time

from guest_agent.engine.container import Container, State
from guest_agent.engine.creation import merge_config, plan_argv, plan_exposed_ports
from guest_agent.engine.host_settings import settle_host_config
from guest_agent.engine.links import check_links
from guest_agent.engine.mode_conflicts import check_network_mode
from guest_agent.engine.mount_points import make_mount_points
from guest_agent.engine.naming import check_name, choose_name, new_id
from guest_agent.engine.parts import Parts
from guest_agent.engine.requests import CreateRequest
from guest_agent.engine.wiring import resolve_settings
from guest_agent.images.platforms import Platform, host_platform, make_platform, parse_platform
from guest_agent.linux.signals import parse_signal
from guest_agent.runtime.privileges import parse_security_options, plan_capabilities
from guest_agent.wire.errors import InvalidArgument, NotFound
from guest_agent.wire.models import ContainerConfig, ContainerId, HostConfig, Image, ImageConfig, RestartCondition

#: (machine, what it runs as well).
_OLDER_RELATIVES = (("amd64", "386"), ("arm64", "arm"))


def make_container(parts: Parts, request: CreateRequest, provisional: bool) -> tuple[Container, tuple[str, ...]]:
    """Check everything, store the record, and tell: the record and docker's warnings.

    A provisional record belongs to a `run` that isn't acknowledged yet: it isn't waited for on the disk.
    """
    check_network_mode(request.config, request.host_config)
    image = _find_image(parts, request.config.image)
    foreign = check_platform(request.config.image, image.config, request.platform)
    identity = ContainerId(new_id())
    name = _find_name(parts, request.name, identity)
    host_config, warnings = settle_host_config(parts, request.host_config)
    config = _complete_config(parts, merge_config(request.config, image.config.config), host_config, identity)
    _check(parts, config, host_config)
    check_links(parts, host_config)
    networks = resolve_settings(parts, host_config, request.networks)
    argv = plan_argv(config)
    container = Container(
        id=identity,
        name=name,
        created_ns=time.time_ns(),
        image_id=image.config.id,
        image_name=request.config.image,
        config=config,
        host_config=host_config,
        path=argv[0],
        args=argv[1:],
        networks=networks,
        mount_points=make_mount_points(parts, config, host_config),
        state=State(provisional=provisional),
    )
    parts.table.save(container, durable=not provisional)
    parts.tell(container, "create")
    return container, (*foreign, *warnings, *_warnings(host_config))


def _find_image(parts: Parts, name: str) -> Image:
    if not name:
        raise InvalidArgument("no command specified")  # as dockerd has it: there is no image to have one
    return parts.images.find(name)


def with_tag(name: str) -> str:
    """The name with the tag that it means."""
    last = name.rpartition("/")[2]
    return name if ":" in last or "@" in last else f"{name}:latest"


def check_platform(reference: str, config: ImageConfig, wanted: str) -> tuple[str, ...]:
    """docker's warning for an image that is another machine's. Raises NotFound where it isn't the one asked for."""
    found = make_platform(config.os, config.architecture, config.variant)
    if not wanted:
        return _foreign_warning(found)
    asked = parse_platform(wanted)
    if asked.architecture != found.architecture or asked.os != found.os:
        raise NotFound(
            f"image with reference {reference} was found but does not match the specified platform: "
            f"wanted {asked}, actual: {found}",
            f"this machine runs {host_platform()}",
        )
    return ()


def _foreign_warning(found: Platform) -> tuple[str, ...]:
    host = host_platform()
    if host.runs(found) or (host.architecture, found.architecture) in _OLDER_RELATIVES:
        return ()
    return (
        f"The requested image's platform ({found}) does not match the detected host platform ({host}) and no specific "
        "platform was requested",
    )


def _find_name(parts: Parts, wanted: str, identity: ContainerId) -> str:
    if not wanted:
        return choose_name(parts.table.names, identity)
    name = check_name(wanted)
    parts.table.check_name_free(name)
    return name


def _complete_config(
    parts: Parts, config: ContainerConfig, host_config: HostConfig, identity: ContainerId
) -> ContainerConfig:
    mode = host_config.network_mode
    hostname, domainname = config.hostname, config.domainname
    if mode == "host" and not hostname:
        hostname = os.uname().nodename
    elif mode.startswith("container:"):
        donor = parts.table.get(ContainerId(mode.partition(":")[2]))
        if donor is not None:  # it needn't run yet: compose makes all containers before it starts any
            hostname, domainname = donor.config.hostname, donor.config.domainname
    return dataclasses.replace(
        config,
        hostname=hostname or identity[:12],
        domainname=domainname,
        exposed_ports=plan_exposed_ports(config, host_config),
    )


def _check(parts: Parts, config: ContainerConfig, host_config: HostConfig) -> None:
    parse_security_options(host_config.security_opt)
    plan_capabilities(host_config.cap_add, host_config.cap_drop, parts.host.capabilities)
    if config.stop_signal:
        parse_signal(config.stop_signal)
    if host_config.auto_remove and host_config.restart_policy.condition is not RestartCondition.NO:
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
    if host_config.init and parts.host.init_binary is None:
        raise InvalidArgument(
            "--init needs a small init program, and there is none on this host", "apt-get install tini"
        )


def _warnings(host_config: HostConfig) -> tuple[str, ...]:
    warnings = []
    if host_config.network_mode == "host" and host_config.port_bindings:
        warnings.append("Published ports are discarded when using host network mode")
    return tuple(warnings)
