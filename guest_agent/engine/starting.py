"""From a record to a running process: every step pushes its undo and has a failpoint before and after.

When a step fails, the undos run in reverse order and the container is as it was. When the engine is killed at a step,
its successor finds the bundle, which is the first thing made, and undoes by it (`reconciling`).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from guest_agent.engine.bundle import borrow_files, find_running, plan_hosts_file, write_config
from guest_agent.engine.container import Container, State
from guest_agent.engine.creation import plan_argv
from guest_agent.engine.failpoints import failpoint
from guest_agent.engine.health import health_at_start
from guest_agent.engine.joining import join_networks, set_up_names
from guest_agent.engine.lifecycle import Step, next_status
from guest_agent.engine.links import renew_links
from guest_agent.engine.live import Run
from guest_agent.engine.memory_events import watch_memory
from guest_agent.engine.parts import Parts, stdio_key
from guest_agent.engine.shipping import open_destination, start_shipping
from guest_agent.engine.stdio import Stdio, make_pipes, terminal_stdio
from guest_agent.engine.volume_uses import hold_volume, let_go_of_volume, tell_mounted
from guest_agent.engine.wiring import plan_published
from guest_agent.linux.mounts import MS_NODEV, MS_NOEXEC, MS_NOSUID, mount, mount_overlay, umount_if_mounted
from guest_agent.logs.messages import Destination
from guest_agent.networks.membership import publishing_endpoint
from guest_agent.networks.publisher import Reservation
from guest_agent.runtime.console import ConsoleSocket
from guest_agent.runtime.crun import CreatedContainer
from guest_agent.wire.models import Endpoint
from guest_agent.wire.mounts import MountType

#: Seconds that the runtime has to hand over a terminal after it was asked to.
_CONSOLE_TIMEOUT = 30.0


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """A doing step of a start, with its two failpoints."""
    failpoint(f"run.{name}.before")
    yield
    failpoint(f"run.{name}.after")


@dataclass(slots=True)
class _Network:
    """How a container is wired: the namespace's path for the runtime, and the descriptor that keeps it alive."""

    endpoints: tuple[Endpoint, ...] = ()
    path: str | None = None
    namespace: int = -1
    files_of: Container | None = None  #: the container whose network, and so whose hosts file, is shared


@dataclass(slots=True)
class Start:
    """One start of one container: its steps in order, each on top of the earlier ones' results."""

    parts: Parts
    container: Container
    run: Run
    undo: AsyncExitStack
    reservation: Reservation | None = None
    network: _Network = field(default_factory=_Network)
    destination: Destination | None = None

    async def perform(self) -> Container:
        """All steps; the record as it was stored with the process running."""
        await self._reserve_ports()
        self._make_bundle()
        self._mount_rootfs()
        await self._provide_volumes()
        await self.parts.networks.clear_away(self._last_endpoints)
        self._connect()
        self._write_files()
        await self._open_log()
        stdio, created = await self._create()
        await self._publish()
        self._let_go(stdio)
        return self._record(created)

    # -- steps

    async def _reserve_ports(self) -> None:
        bindings = plan_published(self.parts, self.container)
        if not bindings:
            return
        with step("ports"):
            networks, identity = self.parts.networks, self.container.id
            self.undo.push_async_callback(networks.release, identity)
            if self.reservation is None:
                self.reservation = await networks.reserve(identity, bindings, self.container.name)

    def _make_bundle(self) -> None:
        with step("bundle"):
            bundle = self.parts.paths.bundle(self.container.id)
            self.undo.callback(_remove_bundle, bundle)
            os.makedirs(f"{bundle}/rootfs")
            for folder in (self.parts.paths.upper(self.container.id), self.parts.paths.work(self.container.id)):
                os.makedirs(folder, mode=0o755, exist_ok=True)
            if self.container.host_config.ipc_mode == "shareable":
                self._make_shared_memory()

    def _make_shared_memory(self) -> None:
        """In our mount namespace, because a mount of another container's own can't be bound (mount_namespaces(7))."""
        place = self.parts.paths.shared_memory(self.container.id)
        os.makedirs(place)
        size = self.container.host_config.shm_size
        mount("shm", place, "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, f"mode=1777,size={size}")

    def _mount_rootfs(self) -> None:
        paths, identity = self.parts.paths, self.container.id
        with step("rootfs"):
            image = self.parts.images.get(self.container.image_id)
            self.undo.callback(umount_if_mounted, paths.rootfs(identity))
            mount_overlay(
                self.parts.layers.names(image.config.diff_ids),
                paths.layers,
                paths.upper(identity),
                paths.work(identity),
                paths.rootfs(identity),
                volatile=self.container.host_config.auto_remove,
            )

    async def _provide_volumes(self) -> None:
        """Those with a file system of their own are mounted, empty ones are filled from the image."""
        rootfs = self.parts.paths.rootfs(self.container.id)
        for point in self.container.mount_points:
            if point.type is not MountType.VOLUME:
                continue
            with step("volumes"):
                self.undo.push_async_callback(let_go_of_volume, self.parts, self.container, point)
                await hold_volume(self.parts, self.container, point)
                if point.fill:
                    await self.parts.volumes.fill(point.name, rootfs, point.destination)

    def _connect(self) -> None:
        with step("network"):
            self.network = self._wire()

    def _wire(self) -> _Network:
        networks, identity, mode = self.parts.networks, self.container.id, self._mode
        if mode == "host":
            endpoint = networks.join_host(identity)
            self.undo.callback(networks.disconnect, identity, endpoint)
            return _Network((endpoint,))
        if mode == "none":
            namespace = networks.loopback_only()
            self.undo.callback(self._close_namespace)
            return _Network((networks.static_endpoint("none"),), _fd_path(namespace), namespace)
        if mode.startswith("container:"):
            other = find_running(self.parts, mode.partition(":")[2], identity)
            return _Network((), f"/proc/{other.state.pid}/ns/net", files_of=other)
        return self._wire_own()

    def _wire_own(self) -> _Network:
        networks, identity = self.parts.networks, self.container.id
        joined = join_networks(self.parts, self.container, self._last_endpoints)
        self.undo.callback(self._close_namespace)
        for endpoint in joined.endpoints:
            self.undo.callback(networks.disconnect, identity, endpoint)
        return _Network(joined.endpoints, _fd_path(joined.namespace), joined.namespace)

    async def _open_log(self) -> None:
        """Where the log driver's destination can't be reached, the start fails."""
        self.destination = await open_destination(self.container)
        if self.destination is not None:
            self.undo.callback(self.destination.close)

    def _write_files(self) -> None:
        with step("files"):
            if self.network.files_of is not None:
                borrow_files(self.parts, self.container, self.network.files_of)
            else:
                self._write_name_files(self.parts.paths.bundle(self.container.id))
            write_config(self.parts, self.container, self.network.path)

    def _write_name_files(self, bundle: str) -> None:
        resolver = set_up_names(self.parts, self.container, self.network.endpoints, self.network.namespace)
        _write(f"{bundle}/resolv.conf", resolver.text())
        _write(f"{bundle}/hostname", f"{self.container.config.hostname}\n")
        _write(f"{bundle}/hosts", plan_hosts_file(self.parts, self.container, self.network.endpoints))

    async def _create(self) -> tuple[Stdio, CreatedContainer]:
        with step("create"):
            self.undo.push_async_callback(
                self.parts.runtime.delete,
                self.container.id,
                self.parts.paths.bundle(self.container.id),
                self.container.group,
            )
            if self.container.config.tty:
                stdio, created = await self._create_with_terminal()
            else:
                stdio, created = await self._create_with_pipes()
        with step("stdio"):
            self._hold(stdio)
        self._close_namespace()
        return stdio, created

    async def _create_with_pipes(self) -> tuple[Stdio, CreatedContainer]:
        stdio = make_pipes(self.container.config.open_stdin)
        self.undo.callback(stdio.close)
        created = await self._call_runtime(dict(stdio.child_ends))
        stdio.close_child_ends()
        return stdio, created

    async def _create_with_terminal(self) -> tuple[Stdio, CreatedContainer]:
        console = ConsoleSocket(self.parts.paths.console_socket(self.container.id))
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            receiving = asyncio.ensure_future(console.receive(_CONSOLE_TIMEOUT))
            try:
                created = await self._call_runtime({0: null, 1: null, 2: null}, console.path)
                stdio = terminal_stdio(await receiving)
            finally:
                receiving.cancel()
        finally:
            console.close()
            os.close(null)
        self.undo.callback(stdio.close)
        stdio.resize(*self.container.host_config.console_size)
        return stdio, created

    async def _call_runtime(self, fds: dict[int, int], console: str = "") -> CreatedContainer:
        bundle = self.parts.paths.bundle(self.container.id)
        argv0 = plan_argv(self.container.config)[0]
        return await self.parts.runtime.create(self.container.id, bundle, fds, argv0, console)

    def _hold(self, stdio: Stdio) -> None:
        key = stdio_key(self.container.id)
        self.undo.callback(self.parts.keeper.drop, key)
        self.parts.keeper.hold(key, *stdio.held())

    async def _publish(self) -> None:
        leading = publishing_endpoint(self.network.endpoints)
        if self.reservation is not None and leading is not None:
            with step("publish"):
                await self.parts.networks.activate(self.reservation, leading.address, leading.address6)

    def _let_go(self, stdio: Stdio) -> None:
        with step("start"):
            self.run.begin(stdio)
            self.undo.callback(self.run.close)
            if self.run.stdin_abandoned:
                stdio.close_stdin()
                self._hold(stdio)
            self.parts.runtime.start(self.container.id)

    def _record(self, created: CreatedContainer) -> Container:
        with step("record"):
            before = self.container.state
            state = State(
                status=next_status(self.container, Step.STARTED),
                pid=created.pid,
                start_ticks=created.start_ticks,
                started_ns=time.time_ns(),
                finished_ns=before.finished_ns,
                restart_count=before.restart_count,
                health=health_at_start(self.container),
            )
            return self.parts.table.save(
                dataclasses.replace(
                    self.container,
                    state=state,
                    endpoints=self.network.endpoints,
                    ports=self.reservation.ports if self.reservation else (),
                )
            )

    # -- small things

    @property
    def _last_endpoints(self) -> tuple[Endpoint, ...]:
        return self.parts.table.live(self.container.id).last_endpoints

    @property
    def _mode(self) -> str:
        return self.container.host_config.network_mode or "default"

    def _close_namespace(self) -> None:
        """The container holds it from its creation on."""
        if self.network.namespace >= 0:
            os.close(self.network.namespace)
            self.network.namespace = -1


async def start_container(parts: Parts, container: Container, reservation: Reservation | None = None) -> Container:
    """Start it. On failure everything is undone and the error is raised; the caller records it."""
    live = parts.table.live(container.id)
    await live.cleared()
    async with AsyncExitStack() as undo:
        start = Start(parts, container, live.run, undo, reservation)
        started = await start.perform()
        undo.pop_all()
    renew_links(parts, started)
    start_shipping(parts, started, start.destination)
    live.run.started.set()
    _announce(parts, started)
    watch_memory(parts, started)
    return started


def _announce(parts: Parts, started: Container) -> None:
    """In dockerd's order."""
    for endpoint in started.endpoints:
        parts.tell_network(endpoint, "connect", started.id)
    for point in started.mount_points:
        tell_mounted(parts, started, point)
    parts.tell(started, "start")


async def remove_remains(parts: Parts, container_id: str, group: str = "") -> None:
    """Take away all that a start made, whatever of it there is: for ends, and after crashes. Idempotent."""
    bundle = parts.paths.bundle(container_id)
    await parts.runtime.delete(container_id, bundle, group)
    umount_if_mounted(parts.paths.rootfs(container_id))
    _remove_bundle(bundle)


def _remove_bundle(bundle: str) -> None:
    """`rmdir` refuses a mount point, so that nothing is ever deleted through a root that is still mounted."""
    umount_if_mounted(f"{bundle}/shm")
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(f"{bundle}/rootfs")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(bundle)


def _fd_path(fd: int) -> str:
    return f"/proc/{os.getpid()}/fd/{fd}"


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o644)
