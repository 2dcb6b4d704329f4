"""One RUN: a container without a record, on a root whose upper folder becomes the layer."""

from __future__ import annotations

import codecs
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Protocol

from guest_agent.engine.build_roots import BuildRoot
from guest_agent.engine.bundle import borrow_files, find_running, plan_hosts_file, write_config
from guest_agent.engine.container import Container
from guest_agent.engine.descriptors import PipeSource
from guest_agent.engine.failpoints import failpoint
from guest_agent.engine.joining import join_networks, set_up_names
from guest_agent.engine.parts import Parts
from guest_agent.engine.stdio import make_pipes
from guest_agent.engine.wiring import resolve_settings
from guest_agent.networks.networks import Attachments
from guest_agent.runtime.crun import exit_code
from guest_agent.wire.models import ContainerConfig, HostConfig, ImageId
from guest_agent.wire.mounts import MountPoint

#: Takes a piece of output, of stream 1 or 2; the command's next one is read when it has.
Say = Callable[[int, str], Awaitable[None]]


class _Source(Protocol):
    async def read(self) -> tuple[int, bytes] | None: ...


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What is executed. `files` are written into the bundle and mounted: path inside -> (content, mode)."""

    config: ContainerConfig
    host_config: HostConfig
    mounts: Sequence[MountPoint] = ()


async def run_step(parts: Parts, root: BuildRoot, plan: RunPlan, say: Say) -> int:
    """Run it to its end: the exit code. Cancelled, it is killed; nothing but the root's changes stays."""
    container = _plan_container(parts, root, plan)
    async with AsyncExitStack() as undo:
        namespace = await _connect(parts, container, undo)
        write_config(parts, container, namespace)
        stdio = make_pipes(open_stdin=False)
        undo.callback(stdio.close)
        undo.push_async_callback(parts.runtime.delete, root.id, parts.paths.bundle(root.id), container.group)
        failpoint("build.run.before")
        created = await parts.runtime.create(
            root.id, parts.paths.bundle(root.id), dict(stdio.child_ends), container.path
        )
        stdio.close_child_ends()
        source = PipeSource({os.dup(stdio.stdout): 1, os.dup(stdio.stderr): 2})
        undo.callback(source.close)
        parts.runtime.start(root.id)
        await show(source, say)
        status = await parts.keeper.wait(created.pid, created.start_ticks)
        failpoint("build.run.after")
        return exit_code(status)


async def show(source: _Source, say: Say) -> None:
    """All output as text."""
    decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in (1, 2)}
    while (piece := await source.read()) is not None:
        stream, data = piece
        text = decoders[stream].decode(data)
        if text:
            await say(stream, text)


def _plan_container(parts: Parts, root: BuildRoot, plan: RunPlan) -> Container:
    words = (*(plan.config.entrypoint or ()), *(plan.config.command or ()))
    return Container(
        id=root.id,
        name=root.id[:12],
        created_ns=time.time_ns(),
        image_id=ImageId(""),
        image_name="",
        config=replace(plan.config, hostname=plan.config.hostname or root.id[:12]),
        host_config=plan.host_config,
        path=words[0],
        args=words[1:],
        networks=resolve_settings(parts, plan.host_config, ()),
        mount_points=tuple(plan.mounts),
    )


async def _connect(parts: Parts, container: Container, undo: AsyncExitStack) -> str | None:
    """Wire it, write the files that name hosts, and give the namespace's path (None: the host's)."""
    mode = container.host_config.network_mode or "default"
    networks, identity = parts.networks, container.id
    if mode.startswith("container:"):
        other = find_running(parts, mode.partition(":")[2], identity)
        borrow_files(parts, container, other)
        return f"/proc/{other.state.pid}/ns/net"
    if mode == "host":
        _write_names(parts, container, Attachments((networks.static_endpoint("host"),), -1))
        return None
    if mode == "none":
        joined = Attachments((networks.static_endpoint("none"),), networks.loopback_only())
    else:
        joined = join_networks(parts, container)
    undo.callback(os.close, joined.namespace)
    for endpoint in joined.endpoints:
        undo.callback(networks.disconnect, identity, endpoint)
    _write_names(parts, container, joined)
    return f"/proc/{os.getpid()}/fd/{joined.namespace}"


def _write_names(parts: Parts, container: Container, joined: Attachments) -> None:
    resolver = set_up_names(parts, container, joined.endpoints, joined.namespace)
    bundle = parts.paths.bundle(container.id)
    hosts, hostname = plan_hosts_file(parts, container, joined.endpoints), f"{container.config.hostname}\n"
    for name, text in (("resolv.conf", resolver.text()), ("hostname", hostname), ("hosts", hosts)):
        with open(f"{bundle}/{name}", "w") as file:
            file.write(text)
        os.chmod(f"{bundle}/{name}", 0o644)
