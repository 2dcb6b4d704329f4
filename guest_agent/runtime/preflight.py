"""What may be missing on a machine, and the text of its fix. `doctor` and the engine's start ask the same list."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from guest_agent.runtime.cgroups import CgroupFacts
from guest_agent.runtime.environment import DEFAULT_PATH

INIT_BINARIES = ("/usr/bin/docker-init", "/usr/bin/tini-static", "/usr/bin/catatonit", "/usr/libexec/podman/catatonit")


@dataclass(frozen=True, slots=True)
class Finding:
    """`fatal`: no container can run like this. The other findings cost a feature or speed."""

    name: str
    message: str
    hint: str
    fatal: bool = False


def preflight(facts: CgroupFacts) -> tuple[Finding, ...]:
    """Everything that is wrong here; () on a good machine."""
    findings = [finding for check in _CHECKS for finding in check()]
    return (*findings, *_check_cgroups(facts))


def find_init() -> str | None:
    """A static init for `--init` that takes tini's command line (`init -- argv`)."""
    return next((path for path in INIT_BINARIES if os.access(path, os.X_OK)), None)


def _check_root() -> Iterator[Finding]:
    if os.geteuid() != 0:
        yield Finding("root", "the engine must run as root", "use sudo, or join the hostvm group", fatal=True)


def _check_runtime() -> Iterator[Finding]:
    if not any(shutil.which(name, path=DEFAULT_PATH) for name in ("crun", "runc")):
        message = "no OCI runtime: neither crun nor runc is installed"
        yield Finding("runtime", message, "apt-get install crun", fatal=True)


def _check_nftables() -> Iterator[Finding]:
    if not _have_library("libnftables.so.1"):
        yield Finding("nftables", "libnftables isn't installed: ports can't be published", "apt-get install nftables")


def _check_seccomp() -> Iterator[Finding]:
    if not _have_library("libseccomp.so.2"):
        message = "libseccomp isn't installed: each start takes 20 ms more"
        yield Finding("seccomp", message, "apt-get install libseccomp2")


def _check_overlay() -> Iterator[Finding]:
    with open("/proc/filesystems") as file:
        if "\toverlay\n" not in file.read() and not _have_module("overlay"):
            yield Finding("overlay", "this kernel has no overlayfs", "modprobe overlay", fatal=True)


def _check_init() -> Iterator[Finding]:
    if find_init() is None:
        yield Finding("init", "no init for --init is installed", "apt-get install tini")


def _check_cgroups(facts: CgroupFacts) -> Iterator[Finding]:
    if facts.version == 0:
        message = "no control groups are mounted: limits don't hold"
        yield Finding("cgroups", message, "mount -t cgroup2 cgroup2 /sys/fs/cgroup")
        return
    for name in ("memory", "pids", "cpu"):
        if facts.version == 1 and name not in facts.hierarchies:
            message = f"the {name} controller isn't mounted: its limits don't hold"
            yield Finding(f"cgroup-{name}", message, f"mount -t cgroup -o {name} cgroup /sys/fs/cgroup/{name}")


def _have_library(file: str) -> bool:
    multiarch = f"/usr/lib/{os.uname().machine}-linux-gnu"
    return any(os.path.exists(f"{folder}/{file}") for folder in (multiarch, "/usr/lib", "/usr/lib64", "/lib", "/lib64"))


def _have_module(name: str) -> bool:
    folder = f"/lib/modules/{os.uname().release}"
    try:
        with open(f"{folder}/modules.dep") as file:
            return f"/{name}.ko" in file.read()
    except OSError:
        return False


_CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _check_root,
    _check_runtime,
    _check_nftables,
    _check_seccomp,
    _check_overlay,
    _check_init,
)
