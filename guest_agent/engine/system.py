"""What the engine tells of itself and its host: `info`, `version`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from guest_agent.engine.checking import Checked, Finding, check
from guest_agent.engine.container import Status
from guest_agent.engine.parts import Parts
from guest_agent.linux.mounts import filesystem_of
from guest_agent.store.files import tree_size

#: Of the installed package; the host side says the same (a test compares).
ENGINE_VERSION = "0.1.0"
API_VERSION = "1.44"
MIN_API_VERSION = "1.24"

#: docker's names for what the kernel calls them.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class SystemInfo:
    """Numbers and names; sizes in bytes."""

    id: str
    name: str
    containers: int
    running: int
    paused: int
    stopped: int
    images: int
    kernel_version: str
    operating_system: str
    os_version: str
    architecture: str
    cpus: int
    memory_total: int
    data_root: str
    cgroup_driver: str
    cgroup_version: str
    storage_driver: str
    runtime: str
    warnings: tuple[str, ...]
    server_version: str
    security_options: tuple[str, ...]
    insecure_registries: tuple[str, ...]
    registry_mirrors: tuple[str, ...]
    logging_driver: str
    debug: bool
    system_time_ns: int
    backing_filesystem: str
    bridge_filters: tuple[bool, bool]  #: whether iptables sees what crosses a bridge: IPv4, IPv6
    init_binary: str


@dataclass(frozen=True, slots=True)
class SystemVersion:
    """As `version` shows it."""

    version: str
    api_version: str
    min_api_version: str
    git_commit: str
    os: str
    arch: str
    kernel_version: str
    build_time: str
    components: tuple[tuple[str, str, dict[str, str]], ...] = field(default=())


class System:
    """The system verbs of the engine. `warnings` are what start-up found."""

    def __init__(self, parts: Parts, identity: str, warnings: tuple[str, ...]) -> None:
        self._parts = parts
        self._identity = identity
        self._warnings = warnings

    def info(self) -> SystemInfo:
        """As it is at this moment."""
        containers = self._parts.table.all()
        states = [container.state.status for container in containers]
        running = states.count(Status.RUNNING) + states.count(Status.RESTARTING)
        paused = states.count(Status.PAUSED)
        release = _os_release()
        settings = self._parts.registries
        return SystemInfo(
            id=self._identity,
            name=os.uname().nodename,
            containers=len(containers),
            running=running,
            paused=paused,
            stopped=len(containers) - running - paused,
            images=len(self._parts.images.all()),
            kernel_version=os.uname().release,
            operating_system=release.get("PRETTY_NAME", "Linux"),
            os_version=release.get("VERSION_ID", ""),
            architecture=os.uname().machine,
            cpus=self._parts.host.support.cpu_count,
            memory_total=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            data_root=self._parts.paths.data,
            cgroup_driver="cgroupfs",
            cgroup_version=str(self._parts.host.cgroups.version or 1),
            storage_driver="overlay2",
            runtime=self._parts.runtime.choice.name,
            warnings=(*self._warnings, *self._parts.networks.warnings),
            server_version=ENGINE_VERSION,
            security_options=("name=seccomp,profile=builtin", "name=cgroupns"),
            insecure_registries=settings.insecure,
            registry_mirrors=tuple(url for urls in settings.mirrors.values() for url in urls),
            logging_driver=self._parts.logs.driver,
            debug=False,
            system_time_ns=time.time_ns(),
            backing_filesystem=_backing_filesystem(self._parts.paths.data),
            bridge_filters=(_is_switched_on("iptables"), _is_switched_on("ip6tables")),
            init_binary=os.path.basename(self._parts.host.init_binary or ""),
        )

    def check(self, repair: bool) -> AsyncIterator[Finding | Checked]:
        """Compare records and disk; with `repair`, mend what can be mended."""
        return check(self._parts, repair)

    async def volume_sizes(self) -> dict[str, int]:
        """Volume -> bytes of the files in it; walks them all."""
        return {
            volume.name: await asyncio.to_thread(tree_size, volume.mountpoint) for volume in self._parts.volumes.list()
        }

    def version(self) -> SystemVersion:
        """Constant while the engine lives."""
        choice = self._parts.runtime.choice
        kernel = os.uname().release
        arch = _ARCHITECTURES.get(self._parts.host.machine, self._parts.host.machine)
        details = {"ApiVersion": API_VERSION, "MinAPIVersion": MIN_API_VERSION, "Arch": arch, "Os": "linux"}
        engine = ("Engine", ENGINE_VERSION, {**details, "KernelVersion": kernel})
        return SystemVersion(
            version=ENGINE_VERSION,
            api_version=API_VERSION,
            min_api_version=MIN_API_VERSION,
            git_commit="",
            os="linux",
            arch=arch,
            kernel_version=kernel,
            build_time="",
            components=(engine, (choice.name, choice.version, {})),
        )


def _os_release() -> dict[str, str]:
    """The host's name for itself (os-release(5))."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                pairs = (line.strip().partition("=") for line in file if "=" in line)
                return {name: value.strip('"') for name, _equals, value in pairs}
        except OSError:
            continue
    return {}


def _backing_filesystem(folder: str) -> str:
    """In docker's words, which has one for all of ext's generations."""
    try:
        kind = filesystem_of(os.path.realpath(folder))
    except OSError:
        return "<unknown>"
    return "extfs" if kind.startswith("ext") else kind or "<unknown>"


def _is_switched_on(program: str) -> bool:
    """The switch is there where the module br_netfilter is."""
    try:
        with open(f"/proc/sys/net/bridge/bridge-nf-call-{program}", "rb") as file:
            return file.read().strip() == b"1"
    except OSError:
        return False
