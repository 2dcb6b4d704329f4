"""The engine: all use cases behind one facade, one attribute a noun; wiring, start-up and shutdown."""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import logging
import os
import secrets
import time
from functools import partial

from guest_agent.build.cache import BuildCache
from guest_agent.config import EngineConfig
from guest_agent.engine.background import BackgroundTasks
from guest_agent.engine.build_mounts import drop_left_secrets
from guest_agent.engine.builds import Builds
from guest_agent.engine.containers import Containers
from guest_agent.engine.ending import discard_folder
from guest_agent.engine.execs import Execs
from guest_agent.engine.files import Files
from guest_agent.engine.images import Images
from guest_agent.engine.log_config import LogDefaults, check_log_config
from guest_agent.engine.mounting import drop_left_mounts
from guest_agent.engine.networks import NetworkVerbs
from guest_agent.engine.parts import HostFacts, Parts
from guest_agent.engine.probing import HealthMonitors
from guest_agent.engine.reconciling import reconcile
from guest_agent.engine.repositories import Repositories
from guest_agent.engine.runs import Runs
from guest_agent.engine.sources import BindSources
from guest_agent.engine.statistics import Statistics
from guest_agent.engine.system import System
from guest_agent.engine.table import ContainerTable
from guest_agent.engine.volumes import VolumeVerbs
from guest_agent.events.bus import EventBus
from guest_agent.images.store import ImageStore
from guest_agent.images.transport import RegistrySettings
from guest_agent.keeper.client import KeeperClient
from guest_agent.layers.store import LayerStore
from guest_agent.linux.capabilities import available
from guest_agent.linux.memory import limit_arenas
from guest_agent.networks.networks import Networks
from guest_agent.networks.settings import NetworkSettings
from guest_agent.runtime import cgroups
from guest_agent.runtime.crun import OciRuntime, RuntimeChoice, protect_binary
from guest_agent.runtime.oom import OomWatch
from guest_agent.runtime.preflight import find_init, preflight
from guest_agent.runtime.probe import probe_runtime
from guest_agent.runtime.seccomp import FilterCache
from guest_agent.runtime.support import detect_support
from guest_agent.store.content import ContentStore
from guest_agent.store.paths import EnginePaths
from guest_agent.store.records import Records
from guest_agent.volumes.store import Volumes
from guest_agent.wire.errors import Conflict, HostFailed, NotModified
from guest_agent.wire.mounts import Volume

log = logging.getLogger(__name__)

#: Heaps of the C library: one for the event loop, one for whatever thread works beside it.
_ARENAS = 2

#: Seconds that a shutdown gives the engine's own tasks.
_JOIN_TIMEOUT = 20.0

_META, _IDENTITY = "meta", "engine-id"


class Engine:
    """Everything that the API may call."""

    def __init__(self, parts: Parts, identity: str, warnings: tuple[str, ...]) -> None:
        self._parts = parts
        self.containers = Containers(parts)
        self.files = Files(parts)
        self.statistics = Statistics(parts)
        self.images = Images(parts)
        self.runs = Runs(parts, self.images)
        self.execs = Execs(parts)
        self.builds = Builds(parts)
        self._health = HealthMonitors(parts, self.execs)
        self.volumes = VolumeVerbs(parts)
        self.networks = NetworkVerbs(parts, time.time_ns())
        self.system = System(parts, identity, warnings)
        self.events = parts.events
        self.stopping = asyncio.Event()

    async def shutdown(self, keep_containers: bool) -> None:
        """End the engine: with its containers, or without them and to be started by the next client."""
        try:
            await self._end(keep_containers)
        finally:
            self.stopping.set()

    async def _end(self, keep_containers: bool) -> None:
        self._health.close()
        if not keep_containers:
            await self._stop_containers()
        await self._parts.tasks.join(0 if keep_containers else _JOIN_TIMEOUT)
        if keep_containers:
            self._parts.networks.close()
            self._parts.keeper.rest()
        else:
            await self._parts.networks.remove_all()
            os.unlink(self._parts.paths.socket)
            self._parts.keeper.quit()
        self._parts.records.close()

    async def _stop_containers(self) -> None:
        """All at once, each with its own signal and time. Their restart policies hold for the engine's next start."""
        running = self.containers.list(everything=False)
        stops = [self.containers.stop_for_shutdown(container.id) for container in running]
        for failure in await asyncio.gather(*stops, return_exceptions=True):
            if isinstance(failure, BaseException) and not isinstance(failure, NotModified):
                log.warning("a container isn't stopped: %s", failure)


async def open_engine(paths: EnginePaths, config: EngineConfig, keeper: KeeperClient) -> Engine:
    """Open the stores, probe the host, reconcile. Raises HostvmError with what keeps the engine from starting."""
    limit_arenas(_ARENAS)
    check_log_config(config.log_driver, config.log_options)
    lock_data(paths)
    facts = cgroups.detect()
    cgroups.prepare_v2(facts)
    for finding in preflight(facts):
        if finding.fatal:
            raise HostFailed(finding.message, finding.hint)
    for folder in (paths.bundles, paths.containers, paths.volumes, paths.temporary):
        os.makedirs(folder, mode=0o711, exist_ok=True)
    drop_left_mounts(paths)
    drop_left_secrets(paths)
    records = Records(paths.database, paths.set_aside)
    parts, warnings = _wire(paths, config, keeper, facts, records)
    parts.networks.start()
    await reconcile(parts)
    records.settled()
    parts.tasks.start(asyncio.to_thread(parts.layers.sweep), "sweep")
    for warning in warnings:
        log.warning("%s", warning)
    return Engine(parts, _identity(records), tuple(warnings))


def _wire(
    paths: EnginePaths, config: EngineConfig, keeper: KeeperClient, facts: cgroups.CgroupFacts, records: Records
) -> tuple[Parts, list[str]]:
    layers = LayerStore(records, paths.layers, paths.temporary)
    warnings = list(records.warnings)
    warnings += layers.start(set_aside=paths.set_aside if records.warnings else "")
    build_cache = BuildCache(records, layers)  # before anything removes layers that no image has
    images = ImageStore(records, ContentStore(paths.content), layers)
    warnings += build_cache.warnings + images.start()
    tasks, events = BackgroundTasks(), EventBus()
    table = ContainerTable(records, paths)
    table.load()
    warnings += table.warnings
    capabilities = available()
    choice = _choose_runtime(paths, facts, capabilities)
    parts = Parts(
        paths=paths,
        records=records,
        table=table,
        keeper=keeper,
        layers=layers,
        images=images,
        volumes=Volumes(
            records, paths, table.users_of_volume, partial(discard_folder, paths, tasks), partial(_tell_volume, events)
        ),
        networks=Networks(_network_settings(config), keeper, records),
        runtime=OciRuntime(choice, paths.runtime_root, keeper, facts),
        filters=FilterCache(),
        oom=OomWatch(facts),
        events=events,
        tasks=tasks,
        host=HostFacts(facts, detect_support(facts), capabilities, os.uname().machine, find_init()),
        registries=RegistrySettings(
            config.insecure_registries, config.registry_mirrors, host_address=config.machine.host_address
        ),
        sources=BindSources(config.machine.files, paths.socket, config.machine.name),
        repositories=Repositories(config.machine.channel, paths.temporary),
        build_cache=build_cache,
        logs=LogDefaults(config.log_driver, config.log_options),
    )
    return parts, [*warnings, *parts.volumes.start(), *choice.warnings]


def _tell_volume(events: EventBus, volume: Volume, action: str) -> None:
    events.publish("volume", action, volume.name, {"driver": volume.driver})


def _network_settings(config: EngineConfig) -> NetworkSettings:
    return NetworkSettings(
        bridge=config.bridge,
        subnet=config.subnet,
        table=config.bridge,
        lease_socket=config.machine.channel,
        host_address=config.machine.host_address,
    )


def _choose_runtime(paths: EnginePaths, facts: cgroups.CgroupFacts, capabilities: tuple[str, ...]) -> RuntimeChoice:
    """What works here; crun from a place where no container can write to it, which saves it a copy at every call."""
    choice = probe_runtime(paths.probes, facts, capabilities)
    if choice.name != "crun":
        return choice
    binary = protect_binary(choice.binary, paths.protected_runtime)
    return dataclasses.replace(choice, binary=binary, protected=True)


def lock_data(paths: EnginePaths) -> None:
    """Two engines never share a store: the descriptor stays open, and locked, as long as this process lives."""
    fd = os.open(paths.data_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Conflict(f"another engine uses {paths.data}", "stop it, or choose another HOSTVM_DATA") from None


def _identity(records: Records) -> str:
    known = records.get(_META, _IDENTITY)
    if known is None:
        known = secrets.token_hex(16)
        records.put(_META, _IDENTITY, known)
    return known
