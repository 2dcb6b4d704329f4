"""What a container sees mounted: docker's defaults, --shm-size, --ipc, --tmpfs and the caller's binds, in order."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence

from guest_agent.wire.errors import HostFailed, InvalidArgument
from guest_agent.wire.models import HostConfig
from guest_agent.wire.mounts import Mount, MountPoint, ReadOnlyDepth

_STRICT = ("nosuid", "noexec", "nodev")
_TMPFS_DEFAULTS = ("noexec", "nosuid", "nodev", "rprivate")
#: Those that programs like lxcfs show their own version of (runc, checkProcMount).
_PROC_FILES = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "net/dev",
        "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled",
    )
)  # fmt: skip
_ENGINE_FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
#: Of each pair the later word wins.
_OPPOSITES = (
    ("ro", "rw"), ("exec", "noexec"), ("suid", "nosuid"), ("dev", "nodev"), ("atime", "noatime"),
    ("diratime", "nodiratime"), ("relatime", "norelatime", "strictatime"), ("sync", "async"),
    ("rprivate", "private", "rshared", "shared", "rslave", "slave"),
)  # fmt: skip
_VALUED = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol")


def plan_mounts(host: HostConfig, given: Sequence[Mount], shared_memory: str = "") -> tuple[Mount, ...]:
    """Defaults that nobody mounts over, then the given ones, parents before what lies inside them."""
    for mount in given:
        _check_proc(mount)
    destinations = {mount.destination for mount in given}
    defaults = [mount for mount in _defaults(host, shared_memory) if mount.destination not in destinations]
    if host.privileged:
        defaults = [_writable(mount) for mount in defaults]
    planned = [_restricted(mount, host) for mount in given]
    return (*defaults, *sorted(planned, key=lambda mount: mount.destination.rstrip("/").count("/")))


def _check_proc(mount: Mount) -> None:
    """runc refuses what would hide the kernel's own files: what is masked there, and what programs trust in."""
    place = posixpath.normpath(mount.destination)
    if place.startswith("/proc/") and place not in _PROC_FILES:
        raise HostFailed(
            "failed to create task for container: failed to create shim task: OCI runtime create failed: unable to "
            f'start container process: error during container init: error mounting "{mount.source}" to rootfs at '
            f'"{place}": "{place}" cannot be mounted because it is inside /proc'
        )


def _defaults(host: HostConfig, shared_memory: str) -> Iterable[Mount]:
    yield Mount("/proc", "proc", "proc", _STRICT)
    yield Mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k"))
    yield Mount(
        "/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
    )
    yield Mount("/sys", "sysfs", "sysfs", (*_STRICT, "ro"))
    yield Mount("/sys/fs/cgroup", "cgroup", "cgroup", (*_STRICT, "ro"))
    yield Mount("/dev/mqueue", "mqueue", "mqueue", _STRICT)
    yield from _shared_memory(host, shared_memory)


def _shared_memory(host: HostConfig, place: str) -> Iterable[Mount]:
    """Of its own, or the one at `place` (which belongs to several, or will); mode "none" has none."""
    if host.ipc_mode == "host":
        yield Mount("/dev/shm", "bind", "/dev/shm", ("rbind", "rprivate"))
    elif place:
        yield Mount("/dev/shm", "bind", place, ("rbind", "rprivate"))
    elif host.ipc_mode != "none":
        yield Mount("/dev/shm", "tmpfs", "shm", (*_STRICT, "mode=1777", f"size={host.shm_size}"))


def plan_tmpfs(destination: str, options: str = "") -> Mount:
    """--tmpfs PATH[:OPTIONS]: docker's strict defaults, over which later words win; InvalidArgument for others."""
    given = [word for word in options.split(",") if word]
    for word in given:
        _check_tmpfs_option(word)
    return Mount(destination, "tmpfs", "tmpfs", merge_options([*_TMPFS_DEFAULTS, *given]))


def plan_bind(point: MountPoint, source: str, *, folder: bool) -> Mount:
    """A folder or file of the host, or a volume's folder."""
    words = ["bind" if point.non_recursive else "rbind", _access(point, folder), point.propagation or "rprivate"]
    return Mount(point.destination, "bind", source, tuple(words))


def _access(point: MountPoint, folder: bool) -> str:
    """Nothing is mounted below a file, and crun takes the recursive word for folders only."""
    if not point.read_only:
        return "rw"
    uppermost = point.depth in (ReadOnlyDepth.WRITABLE, ReadOnlyDepth.OLD)
    return "ro" if uppermost or not folder else "rro"


def plan_root_propagation(mounts: Iterable[Mount]) -> str:
    """What the container's root must be for a mount to reach in or out; "" = private."""
    words = {word for mount in mounts if mount.type in ("bind", "tmpfs") for word in mount.options}
    if words & {"shared", "rshared"}:
        return "shared"
    return "rslave" if words & {"slave", "rslave"} else ""


def _check_tmpfs_option(word: str) -> None:
    name = word.partition("=")[0]
    if name not in _VALUED and not any(word in group for group in _OPPOSITES):
        parts = " ".join(f'"{part}"' for part in word.split("=", 1))
        raise InvalidArgument(f"invalid tmpfs option [{parts}]")


def merge_options(words: Sequence[str]) -> tuple[str, ...]:
    """Of words that contradict each other, or give one value twice, the last one stays."""
    kept: dict[str, str] = {}
    for word in words:
        key = _option_key(word)
        kept.pop(key, None)
        kept[key] = word
    return tuple(kept.values())


def _option_key(word: str) -> str:
    for group in _OPPOSITES:
        if word in group:
            return group[0]
    return word.partition("=")[0]


def _writable(mount: Mount) -> Mount:
    """--privileged sees /sys and /sys/fs/cgroup writable."""
    return Mount(mount.destination, mount.type, mount.source, tuple(word for word in mount.options if word != "ro"))


def _restricted(mount: Mount, host: HostConfig) -> Mount:
    """With --read-only the files that we put into /etc are read-only too."""
    if not host.read_only_rootfs or mount.destination not in _ENGINE_FILES or "ro" in mount.options:
        return mount
    return Mount(mount.destination, mount.type, mount.source, (*mount.options, "ro"))
