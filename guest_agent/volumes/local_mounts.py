"""The options of a local volume (type, o, device): checked, and as a mount(2) over the volume's folder.

As moby's volume/local: a volume with a device has no folder of its own, but what is mounted there while it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from guest_agent.linux import mounts
from guest_agent.wire.errors import HostFailed, InvalidArgument

#: Option -> those that it needs beside it.
_NEEDS = {"type": ("device",), "device": ("type",), "o": ("device", "type"), "size": ()}
_FLAGS = {
    "ro": mounts.MS_RDONLY, "rw": 0, "nosuid": mounts.MS_NOSUID, "suid": 0, "nodev": mounts.MS_NODEV, "dev": 0,
    "noexec": mounts.MS_NOEXEC, "exec": 0, "bind": mounts.MS_BIND, "rbind": mounts.MS_BIND | mounts.MS_REC,
    "noatime": 0x400, "nodiratime": 0x800, "relatime": 1 << 21, "strictatime": 1 << 24, "sync": 0x10,
    "dirsync": 0x80, "mand": 0x40, "defaults": 0, "private": mounts.MS_PRIVATE, "slave": mounts.MS_SLAVE,
    "shared": mounts.MS_SHARED, "rprivate": mounts.MS_PRIVATE | mounts.MS_REC,
    "rslave": mounts.MS_SLAVE | mounts.MS_REC, "rshared": mounts.MS_SHARED | mounts.MS_REC,
}  # fmt: skip
_PROPAGATION = mounts.MS_PRIVATE | mounts.MS_SLAVE | mounts.MS_SHARED


@dataclass(frozen=True, slots=True)
class MountPlan:
    """One mount(2), its propagation apart because the kernel wants a call of its own for it."""

    device: str
    kind: str
    flags: int
    data: str
    propagation: int = 0


def check_options(volume: str, options: Mapping[str, str]) -> None:
    """Raises InvalidArgument in moby's words."""
    problem = _find_problem(options)
    if problem:
        raise InvalidArgument(f"create {volume}: {problem}")


def _find_problem(options: Mapping[str, str]) -> str:
    unknown = [name for name in options if name not in _NEEDS]
    if unknown:
        return f'invalid option: "{unknown[0]}"'
    if options.get("size"):
        return "quota size requested but no quota support"
    missing = [needed for name in options for needed in _NEEDS[name] if needed not in options]
    return f'missing required option: "{missing[0]}"' if missing else ""


def plan_mount(options: Mapping[str, str]) -> MountPlan | None:
    """None for a volume that is a plain folder."""
    if not options.get("device") and not options.get("type"):
        return None
    flags, propagation, data = 0, 0, []
    for word in options.get("o", "").split(","):
        if word not in _FLAGS:
            data += [word] if word else []
        elif _FLAGS[word] & _PROPAGATION:
            propagation = _FLAGS[word]
        else:
            flags |= _FLAGS[word]
    return MountPlan(options.get("device", ""), options.get("type", ""), flags, ",".join(data), propagation)


def perform(plan: MountPlan, target: str, find_source: Callable[[str], str | None]) -> None:
    """Mount it. `find_source` says where a path that is bound is for the engine. Raises HostFailed, Forbidden."""
    if not plan.device:
        raise HostFailed("missing device in volume options")
    bound = bool(plan.flags & mounts.MS_BIND)
    device = (find_source(plan.device) or plan.device) if bound else plan.device
    try:
        _mount(plan, device, target)
    except OSError as error:
        data = f", data: {plan.data}" if plan.data else ""
        raise HostFailed(
            f"error while mounting volume '{target}': failed to mount local volume: mount {plan.device}:{target}, "
            f"flags: {plan.flags:#x}{data}: {_reason(error)}"
        ) from error


def _mount(plan: MountPlan, device: str, target: str) -> None:
    mounts.mount(device, target, plan.kind, plan.flags, plan.data)
    if plan.flags & mounts.MS_BIND and plan.flags & ~(mounts.MS_BIND | mounts.MS_REC):
        mounts.mount("", target, flags=plan.flags | mounts.MS_REMOUNT)
    if plan.propagation:
        mounts.set_propagation(target, plan.propagation)


def _reason(error: OSError) -> str:
    return (error.strerror or "").rpartition(": ")[2].lower()
