"""Mounts and volumes: what is asked for, what a container has, what the OCI spec gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class MountType(StrEnum):
    BIND = "bind"
    VOLUME = "volume"
    TMPFS = "tmpfs"


class ReadOnlyDepth(StrEnum):
    """How far `ro` reaches into the mounts below a bind's source: the values of `bind-recursive`."""

    ENABLED = "enabled"  #: as far as the kernel can
    WRITABLE = "writable"  #: the uppermost mount alone
    READONLY = "readonly"  #: all of them, or the start fails
    OLD = "old"  #: as WRITABLE, without being asked for: what it meant before API 1.44


@dataclass(frozen=True, slots=True)
class MountRequest:
    """What `-v` (with `bind_string`) and `--mount` ask for.

    `source` is a host path (bind), a volume's name ("" = anonymous) or "" (tmpfs). `options` are a tmpfs' own
    (`size=64m,mode=1777`); the sizes that they came from are kept for inspect. `driver`, `driver_options` and `labels`
    are for the volume, where there is none of that name yet.
    """

    type: MountType
    target: str
    source: str = ""
    read_only: bool = False
    propagation: str = ""  #: "" = rprivate
    create_source: bool = False  #: `-v` makes a missing bind source as a folder; `--mount` refuses
    no_copy: bool = False  #: a volume isn't filled from the image
    options: str = ""
    bind_string: bool = False  #: came as `-v`
    mode: str = ""  #: what stood behind the second colon of `-v`
    non_recursive: bool = False  #: without the mounts below a bind's source
    depth: ReadOnlyDepth = ReadOnlyDepth.ENABLED
    consistency: str = ""
    driver: str = ""
    driver_options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    tmpfs_size: int = 0
    tmpfs_mode: int = 0


@dataclass(frozen=True, slots=True)
class MountPoint:
    """A mount that a container has, as `inspect` shows it."""

    type: MountType
    destination: str
    source: str  #: host path
    name: str = ""  #: of the volume
    driver: str = ""  #: "local" for volumes
    read_only: bool = False
    propagation: str = ""
    mode: str = ""  #: what stood behind the second colon of `-v`; a volume's default is "z"
    anonymous: bool = False  #: an anonymous volume goes with its container at `rm -v` and `--rm`
    options: str = ""  #: of a tmpfs
    non_recursive: bool = False
    depth: ReadOnlyDepth = ReadOnlyDepth.ENABLED
    create_source: bool = False
    fill: bool = False  #: an empty volume takes what the image has at `destination`


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount as the OCI spec wants it, source resolved; `options` are mount(8)'s words."""

    destination: str
    type: str
    source: str
    options: tuple[str, ...] = ()


#: What docker marks a volume with that was made without a name.
ANONYMOUS_LABEL = "com.docker.volume.anonymous"


@dataclass(frozen=True, slots=True)
class Volume:
    name: str
    mountpoint: str
    created_ns: int
    driver: str = "local"
    labels: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)  #: the driver's: type, o, device
    anonymous: bool = False
