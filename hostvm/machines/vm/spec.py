"""What a VM machine is: the user's settings, with every default explicit. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from guest_agent.wire.errors import InvalidArgument
from hostvm.machines.vm.names import check_name

#: Below this the guest's kernel and the engine themselves run out of memory (measured: 140 MiB when idle).
LEAST_MEMORY = 512
#: Docker's tutorials fit twice; it is a hole in a file until it is written to.
DEFAULT_DISK = 64
LEAST_DISK = 1
#: ext4 of the guest, with 4 KiB blocks.
MOST_DISK = 16 << 10
MOST_CPUS = 255
ARCHITECTURES = ("x86_64", "aarch64")

_KEYS = {"version", "name", "arch", "cpus", "memory", "disk", "shares", "ports", "idle_seconds"}


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the defaults follow from. `memory` in MiB; `arch` as `uname -m` says on Linux."""

    cpus: int
    memory: int
    arch: str


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """`memory` in MiB, `disk` in GiB. `shares`: None = the home folder. `ports` is the forwarder's own rules."""

    name: str
    cpus: int
    memory: int
    disk: int = DEFAULT_DISK
    shares: tuple[str, ...] | None = None
    ports: Mapping[str, object] = field(default_factory=dict)
    idle_seconds: float = 0
    arch: str = "x86_64"

    def to_json(self) -> dict[str, object]:
        return {
            "version": 1, "name": self.name, "arch": self.arch, "cpus": self.cpus, "memory": self.memory,
            "disk": self.disk, "shares": None if self.shares is None else list(self.shares),
            "ports": dict(self.ports), "idle_seconds": self.idle_seconds,
        }  # fmt: skip


def default_spec(name: str, host: HostFacts) -> MachineSpec:
    """Half of the host's memory up to 4 GiB, its CPUs up to 4: what a laptop gives away without feeling it."""
    memory = max(LEAST_MEMORY, min(4096, host.memory // 2))
    return check_spec(MachineSpec(name, cpus=max(1, min(4, host.cpus)), memory=memory, arch=host.arch))


def check_spec(spec: MachineSpec) -> MachineSpec:
    """The spec itself. Raises InvalidArgument."""
    check_name(spec.name)
    _check_range("cpus", spec.cpus, 1, MOST_CPUS, "")
    _check_range("memory", spec.memory, LEAST_MEMORY, 1 << 24, " MiB")
    _check_range("disk", spec.disk, LEAST_DISK, MOST_DISK, " GiB")
    if spec.arch not in ARCHITECTURES:
        raise InvalidArgument(f"unknown architecture {spec.arch!r}", f"known: {', '.join(ARCHITECTURES)}")
    if not 0 <= spec.idle_seconds < 1e9:
        raise InvalidArgument("idle_seconds must not be negative", "0 = never suspend by itself")
    for path in spec.shares or ():
        if not path.startswith("/"):
            raise InvalidArgument(f"the shared folder {path!r} is no absolute path")
    return spec


def change_spec(spec: MachineSpec, changes: Mapping[str, object]) -> MachineSpec:
    """The spec with some of its keys replaced. Raises InvalidArgument, also where the disk would shrink."""
    document = {**spec.to_json(), **changes}
    changed = parse_spec(document)
    if changed.disk < spec.disk:
        raise InvalidArgument(
            f"the disk can't shrink from {spec.disk} to {changed.disk} GiB", "`hostvm machine reset` makes an empty one"
        )
    if (changed.name, changed.arch) != (spec.name, spec.arch):
        raise InvalidArgument("a machine's name and architecture can't be changed")
    return replace(changed)


def parse_spec(document: Mapping[str, object]) -> MachineSpec:
    """machine.json -> spec. Unknown keys are refused: a misspelt one would silently do nothing."""
    unknown = sorted(set(document) - _KEYS)
    if unknown:
        raise InvalidArgument(f"unknown key {unknown[0]!r}", f"known: {', '.join(sorted(_KEYS))}")
    if document.get("version", 1) != 1:
        raise InvalidArgument(f"version {document['version']!r} of machine.json is not known", "upgrade hostvm")
    return check_spec(
        MachineSpec(
            name=_text(document, "name"),
            arch=_text(document, "arch"),
            cpus=_whole(document, "cpus"),
            memory=_whole(document, "memory"),
            disk=_whole(document, "disk"),
            shares=_shares(document),
            ports=_table(document, "ports"),
            idle_seconds=_number(document, "idle_seconds"),
        )
    )


def _check_range(name: str, value: int, least: int, most: int, unit: str) -> None:
    if not least <= value <= most:
        raise InvalidArgument(f"{name} must be between {least} and {most}{unit}, not {value}")


def _text(document: Mapping[str, object], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        raise InvalidArgument(f"{key} must be a string")
    return value


def _whole(document: Mapping[str, object], key: str) -> int:
    value = document.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidArgument(f"{key} must be a whole number")
    return value


def _number(document: Mapping[str, object], key: str) -> float:
    value = document.get(key, 0)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise InvalidArgument(f"{key} must be a number")
    return value


def _table(document: Mapping[str, object], key: str) -> dict[str, object]:
    value = document.get(key, {})
    if not isinstance(value, dict):
        raise InvalidArgument(f"{key} must be a table")
    return value


def _shares(document: Mapping[str, object]) -> tuple[str, ...] | None:
    value = document.get("shares")
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(path, str) for path in value):
        raise InvalidArgument("shares must be a list of paths")
    return tuple(value)
