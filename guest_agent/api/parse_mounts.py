"""`Binds`, `Mounts` and `Tmpfs` of a HostConfig to `MountRequest`s, refused in dockerd's words."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from guest_agent.api.fields import Fields
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.mounts import MountRequest, MountType

_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
#: SELinux labels and Docker Desktop's consistency: accepted and without effect, as with dockerd on such a host.
_IGNORED_MODES = frozenset({"z", "Z", "cached", "delegated", "consistent", "default"})


def parse_binds(binds: tuple[str, ...]) -> tuple[MountRequest, ...]:
    """The `-v` strings: "/host:/inside[:ro,rslave]", "name:/inside", "/inside" (anonymous)."""
    mounts = tuple(_parse_bind(bind) for bind in binds)
    _refuse_duplicates(mounts)
    return mounts


def _parse_bind(bind: str) -> MountRequest:
    words = bind.split(":")
    if len(words) > 3 or not all(words):
        raise InvalidArgument(f"invalid volume specification: '{bind}'")
    source, target = ("", words[0]) if len(words) == 1 else (words[0], words[1])
    _check_target(target, bind)
    read_only, propagation, no_copy = _parse_mode(words[2] if len(words) == 3 else "")
    is_path = source.startswith("/")
    if not is_path and source:
        _check_volume_name(source)
    return MountRequest(
        type=MountType.BIND if is_path else MountType.VOLUME,
        target=posixpath.normpath(target),
        source=posixpath.normpath(source) if is_path else source,
        read_only=read_only,
        propagation=propagation,
        create_source=is_path,
        no_copy=no_copy,
    )


def _check_target(target: str, specification: str) -> None:
    if not target.startswith("/"):
        raise InvalidArgument(
            f"invalid volume specification: '{specification}': invalid mount config for type \"volume\": invalid "
            f"mount path: '{target}' mount path must be absolute"
        )
    if posixpath.normpath(target) in ("/", "//"):
        raise InvalidArgument(
            f"invalid volume specification: '{specification}': invalid mount config for type \"bind\": invalid "
            "specification: destination can't be '/'"
        )


def _check_volume_name(name: str) -> None:
    if not _VOLUME_NAME.fullmatch(name):
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )


def _parse_mode(mode: str) -> tuple[bool, str, bool]:
    """(read only, propagation, no copy) of what stands behind the second colon."""
    read_only, propagation, no_copy = False, "", False
    for word in mode.split(",") if mode else ():
        if word in ("ro", "rw"):
            read_only = word == "ro"
        elif word in _PROPAGATIONS:
            propagation = word
        elif word == "nocopy":
            no_copy = True
        elif word not in _IGNORED_MODES:
            raise InvalidArgument(f"invalid mode: {mode}")
    return read_only, propagation, no_copy


def parse_mounts(host: Fields) -> tuple[MountRequest, ...]:
    """`Mounts` (from --mount) and `Tmpfs` (from --tmpfs)."""
    tmpfs = tuple(_tmpfs(target, options) for target, options in host.text_map("Tmpfs").items())
    mounts = tuple(_parse_mount(body) for body in host.parts("Mounts"))
    _refuse_duplicates(mounts + tmpfs)
    return mounts + tmpfs


def _tmpfs(target: str, options: str) -> MountRequest:
    if not target.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{target}' mount path must be absolute")
    return MountRequest(MountType.TMPFS, posixpath.normpath(target), options=options)


def _parse_mount(body: Fields) -> MountRequest:
    kind = body.text("Type")
    if kind not in ("bind", "volume", "tmpfs"):
        raise InvalidArgument(f'invalid mount config for type "{kind}": mount type unknown')
    source, target = body.text("Source"), body.text("Target")
    _check_mount(kind, source, target)
    bind = body.part("BindOptions")
    return MountRequest(
        type=MountType(kind),
        target=posixpath.normpath(target),
        source=source,
        read_only=body.flag("ReadOnly"),
        propagation=bind.text("Propagation"),
        create_source=bind.flag("CreateMountpoint"),
        no_copy=body.part("VolumeOptions").flag("NoCopy"),
        options=_tmpfs_options(body.part("TmpfsOptions")),
    )


def _check_mount(kind: str, source: str, target: str) -> None:
    problem = ""
    if not target:
        problem = "field Target must not be empty"
    elif not target.startswith("/"):
        problem = f"invalid mount path: '{target}' mount path must be absolute"
    elif kind == "bind" and not source:
        problem = "field Source must not be empty"
    elif kind == "bind" and not source.startswith("/"):
        problem = f"invalid mount path: '{source}' mount path must be absolute"
    elif kind == "tmpfs" and source:
        problem = "field Source must not be specified"
    if problem:
        raise InvalidArgument(f'invalid mount config for type "{kind}": {problem}')
    if kind == "volume" and source:
        _check_volume_name(source)


def _tmpfs_options(body: Fields) -> str:
    options = []
    if body.integer("SizeBytes"):
        options.append(f"size={body.integer('SizeBytes')}")
    if body.integer("Mode"):
        options.append(f"mode={body.integer('Mode'):o}")
    return ",".join(options)


def _refuse_duplicates(mounts: Iterable[MountRequest]) -> None:
    seen: set[str] = set()
    for mount in mounts:
        if mount.target in seen:
            raise InvalidArgument(f"Duplicate mount point: {mount.target}")
        seen.add(mount.target)
