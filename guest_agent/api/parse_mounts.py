"""`Binds`, `Mounts` and `Tmpfs` of a HostConfig, refused in dockerd's words (moby, volume/mounts/linux_parser.go)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping

from guest_agent.api.fields import Fields
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.mounts import MountRequest, MountType, ReadOnlyDepth

_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
#: Of each kind of word one may stand in a mode. SELinux labels and consistency have no effect on such a host.
_MODE_WORDS = (
    frozenset({"ro", "rw"}),
    frozenset({"z", "Z"}),
    frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"}),
    frozenset({"nocopy"}),
    frozenset({"consistent", "cached", "delegated", "default"}),
)
_PROPAGATIONS = _MODE_WORDS[2]
#: A tmpfs' size is written with the largest unit that divides it.
_UNITS = (("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10))
_OWN_OPTIONS = (("VolumeOptions", "volume"), ("BindOptions", "bind"), ("TmpfsOptions", "tmpfs"))


def parse_binds(binds: tuple[str, ...], driver: str = "") -> tuple[MountRequest, ...]:
    """The `-v` strings: "/host:/inside[:ro,rslave]", "name:/inside", "/inside" (anonymous)."""
    return tuple(_parse_bind(bind, driver) for bind in binds)


def _parse_bind(bind: str, driver: str) -> MountRequest:
    words = bind.split(":")
    if len(words) > 3 or not words[0] or (len(words) == 2 and is_mode(words[1])):
        raise InvalidArgument(f"invalid volume specification: '{bind}'")
    source, target = ("", words[0]) if len(words) == 1 else (words[0], words[1])
    mode = words[2] if len(words) == 3 else ""
    if not is_mode(mode):
        raise InvalidArgument(f"invalid mode: {mode}")
    is_path = source.startswith("/")
    kind = MountType.BIND if is_path else MountType.VOLUME
    _check_place(kind, target, f"invalid volume specification: '{bind}': ")
    given = mode.split(",")
    _check_words(kind, given, f"invalid volume specification: '{bind}': ")
    if not is_path and source:
        _check_volume_name(source)
    return MountRequest(
        type=kind,
        target=posixpath.normpath(target),
        source=posixpath.normpath(source) if is_path else source,
        read_only="ro" in given,
        propagation=next((word for word in given if word in _PROPAGATIONS), ""),
        create_source=is_path,
        no_copy="nocopy" in given,
        bind_string=True,
        mode=mode,
        driver="" if is_path else driver,
    )


def is_mode(text: str) -> bool:
    """Whether it may stand behind the second colon of `-v`: known words, of each kind one at most."""
    words = text.split(",") if text else []
    known = all(any(word in kind for kind in _MODE_WORDS) for word in words)
    return known and all(sum(word in kind for word in words) <= 1 for kind in _MODE_WORDS)


def _check_words(kind: MountType, words: Iterable[str], before: str) -> None:
    """Propagation is for folders of the host, and to take what the image has for volumes."""
    foreign, field = (_PROPAGATIONS, "BindOptions") if kind is MountType.VOLUME else ({"nocopy"}, "VolumeOptions")
    if not foreign.isdisjoint(words):
        raise InvalidArgument(f'{before}invalid mount config for type "{kind}": field {field} must not be specified')


def _check_place(kind: MountType | str, target: str, before: str = "") -> None:
    problem = ""
    if not target:
        problem = "field Target must not be empty"
    elif posixpath.normpath(target) in ("/", "//"):
        problem = "invalid specification: destination can't be '/'"
    elif not target.startswith("/"):
        problem = f"invalid mount path: '{target}' mount path must be absolute"
    if problem:
        raise InvalidArgument(f'{before}invalid mount config for type "{kind}": {problem}')


def _check_volume_name(name: str) -> None:
    if not _VOLUME_NAME.fullmatch(name):
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )


def parse_tmpfs(host: Fields) -> dict[str, str]:
    """--tmpfs: target -> options, which are checked at the start, as dockerd does."""
    tmpfs = host.text_map("Tmpfs")
    for target in tmpfs:
        if posixpath.normpath(target) in ("/", "//"):
            raise InvalidArgument("invalid specification: destination can't be '/'")
        if not target.startswith("/"):
            raise InvalidArgument(f"invalid mount path: '{target}' mount path must be absolute")
    return tmpfs


def parse_mounts(host: Fields) -> tuple[MountRequest, ...]:
    """`Mounts`: what --mount sends."""
    return tuple(_parse_mount(body) for body in host.parts("Mounts"))


def _parse_mount(body: Fields) -> MountRequest:
    kind = body.text("Type")
    _check_mount(kind, body)
    bind, volume, tmpfs = body.part("BindOptions"), body.part("VolumeOptions"), body.part("TmpfsOptions")
    driver = volume.part("DriverConfig")
    size, mode = tmpfs.integer("SizeBytes"), tmpfs.integer("Mode")
    return MountRequest(
        type=MountType(kind),
        target=posixpath.normpath(body.text("Target")),
        source=posixpath.normpath(body.text("Source")) if kind == "bind" else body.text("Source"),
        read_only=body.flag("ReadOnly"),
        propagation=bind.text("Propagation"),
        create_source=bind.flag("CreateMountpoint"),
        no_copy=volume.flag("NoCopy"),
        options=_tmpfs_options(size, mode, body.flag("ReadOnly")),
        non_recursive=bind.flag("NonRecursive"),
        depth=_depth(bind, body.flag("ReadOnly")),
        consistency=body.text("Consistency"),
        driver=driver.text("Name"),
        driver_options=driver.text_map("Options"),
        labels=volume.text_map("Labels"),
        tmpfs_size=size,
        tmpfs_mode=mode,
    )


def _check_mount(kind: str, body: Fields) -> None:
    source = body.text("Source")
    for name, owner in _OWN_OPTIONS:
        if name in body and kind != owner:
            raise InvalidArgument(f'{name} must not be specified on mount type "{kind}"')
    _check_place(kind, body.text("Target"))
    problem = ""
    if kind not in ("bind", "volume", "tmpfs"):
        problem = "mount type unknown"
    elif kind == "bind":
        problem = _bind_problem(source, body.part("BindOptions").text("Propagation"))
    elif kind == "tmpfs" and source:
        problem = "field Source must not be specified"
    elif kind == "volume" and body.part("VolumeOptions").text("Subpath"):
        problem = "a subpath of a volume needs API v1.45 or newer"
    elif kind == "volume" and body.flag("ReadOnly") and not source:
        problem = "must not set ReadOnly mode when using anonymous volumes"
    if problem:
        raise InvalidArgument(f'invalid mount config for type "{kind}": {problem}')
    if kind == "volume" and source:
        _check_volume_name(source)


def _bind_problem(source: str, propagation: str) -> str:
    if not source:
        return "field Source must not be empty"
    if propagation and propagation not in _PROPAGATIONS:
        return f"invalid propagation mode: {propagation}"
    return "" if source.startswith("/") else f"invalid mount path: '{source}' mount path must be absolute"


def _depth(bind: Fields, read_only: bool) -> ReadOnlyDepth:
    wanted = [name for name in ("ReadOnlyNonRecursive", "ReadOnlyForceRecursive") if bind.flag(name)]
    if wanted and not read_only:
        raise InvalidArgument(f"mount options conflict: !ReadOnly && BindOptions.{wanted[0]}")
    if len(wanted) > 1:
        raise InvalidArgument("mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive")
    if not wanted:
        return ReadOnlyDepth.ENABLED
    return ReadOnlyDepth.WRITABLE if wanted == ["ReadOnlyNonRecursive"] else ReadOnlyDepth.READONLY


def _tmpfs_options(size: int, mode: int, read_only: bool) -> str:
    words = ["ro"] if read_only else []
    if mode:
        words.append(f"mode={mode:o}")
    if size:
        letter, unit = next((pair for pair in _UNITS if size % pair[1] == 0), ("", 1))
        words.append(f"size={size // unit}{letter}")
    return ",".join(words)


def refuse_duplicates(mounts: Iterable[MountRequest], tmpfs: Mapping[str, str]) -> None:
    """A `-v` may neither meet another mount nor a --tmpfs; a --mount no other mount."""
    seen: set[str] = set()
    places = {posixpath.normpath(target) for target in tmpfs}
    for mount in mounts:
        if mount.target in seen or (mount.bind_string and mount.target in places):
            raise InvalidArgument(f"Duplicate mount point: {mount.target}")
        seen.add(mount.target)
