"""A HostConfig as it is asked for -> as it is stored: modes and limits settled by what this host can, or refused.

The words are dockerd's (daemon/daemon_unix.go: adaptContainerSettings, verifyPlatformContainerSettings).
"""

from __future__ import annotations

import dataclasses

from guest_agent.engine.log_config import resolve_log_config
from guest_agent.engine.parts import Parts
from guest_agent.runtime.limit_checks import settle_limits
from guest_agent.wire.errors import HostFailed, InvalidArgument, NotFound
from guest_agent.wire.models import HostConfig

_IPC_MODES = ("", "none", "private", "shareable", "host")
#: Names of the runtime that other people's files have: all of them mean the one that there is.
RUNTIMES = ("runc", "crun", "io.containerd.runc.v2")
_LABELS_OFF = "label=disable"


def settle_host_config(parts: Parts, wanted: HostConfig) -> tuple[HostConfig, tuple[str, ...]]:
    """The settings to store, and warnings. Raises InvalidArgument, HostFailed."""
    resources, warnings = settle_limits(wanted.resources, parts.host.support)
    _check_modes(wanted)
    _check_runtime(parts, wanted.runtime)
    if wanted.storage_opt:
        raise HostFailed("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
    log_driver, log_options = resolve_log_config(wanted, parts.logs)
    settled = dataclasses.replace(
        wanted,
        log_driver=log_driver,
        log_options=log_options,
        resources=resources,
        network_mode=_resolve_network(parts, wanted.network_mode or "default"),
        pid_mode=_resolve_namespace(parts, wanted.pid_mode),
        ipc_mode=_resolve_namespace(parts, wanted.ipc_mode or "private"),
        cgroupns_mode=wanted.cgroupns_mode or _default_cgroupns(parts, wanted.privileged),
        security_opt=plan_security_options(wanted),
    )
    return settled, warnings


def _resolve(parts: Parts, mode: str) -> str:
    """`container:NAME` becomes `container:ID`, so that a rename changes nothing. Raises NotFound."""
    kind, _colon, reference = mode.partition(":")
    return f"container:{parts.table.find(reference).id}" if kind == "container" else mode


def _resolve_namespace(parts: Parts, mode: str) -> str:
    try:
        return _resolve(parts, mode)
    except NotFound as error:
        raise InvalidArgument(error.message) from None


def _resolve_network(parts: Parts, mode: str) -> str:
    """Whose network it is, only the start needs to know."""
    try:
        return _resolve(parts, mode)
    except NotFound:
        return mode


def _default_cgroupns(parts: Parts, privileged: bool) -> str:
    """Stricter than docker's on v1, where a privileged container may want to make groups itself."""
    return "host" if privileged and parts.host.cgroups.version == 1 else "private"


def _check_modes(wanted: HostConfig) -> None:
    joinable = ("container:",)
    for name, mode, known, prefixes in (
        ("IPC", wanted.ipc_mode, _IPC_MODES, joinable),
        ("PID", wanted.pid_mode, ("", "host"), joinable),
        ("UTS", wanted.uts_mode, ("", "host"), ()),
        ("user namespace", wanted.userns_mode, ("", "host"), ()),
        ("cgroup namespace", wanted.cgroupns_mode, ("", "private", "host"), ()),
    ):
        if mode not in known and not any(mode.startswith(start) and mode != start for start in prefixes):
            raise InvalidArgument(f"invalid {name} mode: {mode}")


def _check_runtime(parts: Parts, name: str) -> None:
    if name and name not in RUNTIMES and name != parts.runtime.choice.name:
        raise InvalidArgument(f"unknown or invalid runtime name: {name}")


def plan_security_options(wanted: HostConfig) -> tuple[str, ...]:
    """What shares a namespace with the host has no SELinux labels, unless the user said something about them."""
    options = wanted.security_opt
    if any(option.partition("=")[0] == "label" for option in options):
        return options
    unlabelled = wanted.privileged or "host" in (wanted.ipc_mode, wanted.pid_mode)
    return (*options, _LABELS_OFF) if unlabelled else options
