"""-v and --mount: where a folder or a volume goes.

`-v` strings travel to the engine as they are (HostConfig.Binds), but that a relative source is made absolute here, as
only the client knows where the user stands. `--mount` becomes an object of HostConfig.Mounts.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Mount = dict[str, object]


class BadVolume(ValueError):
    """A malformed -v."""


def parse_volume(text: str, absolute: "Callable[[str], str]") -> tuple[str, str]:
    """`-v` -> (bind, ""), or ("", target) where there is only a target: an anonymous volume.

    `absolute` makes a path absolute. Raises BadVolume in the wording of docker's cli/compose/loader.
    """
    parts = text.split(":")
    if len(parts) > 3:
        raise BadVolume(f"invalid spec: {text}: too many colons")
    if not all(parts):
        reason = "invalid empty volume spec" if not text else f"invalid spec: {text}: empty section between colons"
        raise BadVolume(reason)
    if len(parts) == 1:
        return "", text
    return ":".join([_source(parts[0], absolute), *parts[1:]]), ""


def _source(source: str, absolute: "Callable[[str], str]") -> str:
    """A name of a volume stays; `.`, `./x`, `../x` and `~` are paths."""
    if source == "." or source.startswith(("./", "../", "~")) or source == "..":
        return absolute(source)
    return source


def parse_mount(text: str) -> "Mount":
    """`type=bind,source=/a,target=/b,readonly` (opts.MountOpt). Raises ValueError."""
    from hostvm.cli.request.csv import split_csv

    mount: Mount = {"Type": "volume"}
    for field in split_csv(text):
        key, found, value = field.partition("=")
        key = key.strip().lower()
        if not found and key not in _SWITCHES:
            raise ValueError(f"invalid field '{field}' must be a key=value pair")
        _set_field(mount, key, value, field)
    _check_mount(mount)
    return mount


_SWITCHES = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive")
_DEPTHS: "dict[str, dict[str, object]]" = {
    "enabled": {},
    "disabled": {"NonRecursive": True},
    "writable": {"ReadOnlyNonRecursive": True},
    "readonly": {"ReadOnlyForceRecursive": True},
}
_TEXTS = {"source": "Source", "src": "Source", "target": "Target", "dst": "Target", "destination": "Target"}


def _set_field(mount: "Mount", key: str, value: str, field: str) -> None:
    if key == "type":
        mount["Type"] = value.lower()
    elif key in _TEXTS:
        mount[_TEXTS[key]] = _expand(value) if _TEXTS[key] == "Source" else value
    elif key in ("readonly", "ro"):
        mount["ReadOnly"] = _switch(key, value, field)
    elif key == "consistency":
        mount["Consistency"] = value.lower()
    elif key.startswith("bind-"):
        _set_bind(_options(mount, "BindOptions"), key, value, field)
    elif key.startswith("volume-"):
        _set_volume(_options(mount, "VolumeOptions"), key, value, field)
    elif key.startswith("tmpfs-"):
        _set_tmpfs(_options(mount, "TmpfsOptions"), key, value, field)
    else:
        raise _unexpected(key, field)


def _expand(source: str) -> str:
    if source == "." or source.startswith(("./", "../")) or source == "..":
        import os

        return os.path.abspath(source)
    return source


def _options(mount: "Mount", name: str) -> dict[str, object]:
    options = mount.setdefault(name, {})
    assert isinstance(options, dict)
    return options


def _unexpected(key: str, field: str) -> ValueError:
    return ValueError(f"unexpected key '{key}' in '{field}'")


def _switch(key: str, value: str, field: str) -> bool:
    from hostvm.cli.kinds import parse_bool

    if "=" not in field:
        return True
    try:
        return parse_bool(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _set_bind(options: dict[str, object], key: str, value: str, field: str) -> None:
    if key == "bind-propagation":
        options["Propagation"] = value.lower()
    elif key == "bind-nonrecursive":
        options["NonRecursive"] = _switch(key, value, field)
    elif key == "bind-recursive":
        if value not in _DEPTHS:
            known = '"enabled", "disabled", "writable", or "readonly"'
            raise ValueError(f"invalid value for {key}: {value} (must be {known})")
        options |= _DEPTHS[value]
    else:
        raise _unexpected(key, field)


def _set_volume(options: dict[str, object], key: str, value: str, field: str) -> None:
    if key == "volume-nocopy":
        options["NoCopy"] = _switch(key, value, field)
    elif key == "volume-subpath":
        options["Subpath"] = value
    elif key == "volume-label":
        _add_pair(options, "Labels", value)
    elif key == "volume-driver":
        _options(options, "DriverConfig")["Name"] = value
    elif key == "volume-opt":
        _add_pair(_options(options, "DriverConfig"), "Options", value)
    else:
        raise _unexpected(key, field)


def _add_pair(options: dict[str, object], name: str, value: str) -> None:
    key, _, text = value.partition("=")
    _options(options, name)[key] = text


def _set_tmpfs(options: dict[str, object], key: str, value: str, field: str) -> None:
    from guest_agent.wire.sizes import parse_size

    try:
        if key == "tmpfs-size":
            options["SizeBytes"] = parse_size(value)
        elif key == "tmpfs-mode":
            options["Mode"] = int(value, 8)
        else:
            raise _unexpected(key, field)
    except ValueError as error:
        if str(error).startswith("unexpected key"):
            raise
        raise ValueError(f"invalid value for {key}: {value}") from None


def _check_mount(mount: "Mount") -> None:
    kind = mount["Type"]
    if not kind:
        raise ValueError("type is required")
    if not mount.get("Target"):
        raise ValueError("target is required")
    for options, owner in (("VolumeOptions", "volume"), ("BindOptions", "bind"), ("TmpfsOptions", "tmpfs")):
        if options in mount and kind != owner:
            raise ValueError(f"cannot mix '{owner}-*' options with mount type '{kind}'")
    _check_depth(mount)


def _check_depth(mount: "Mount") -> None:
    """A depth is one of read-only mounts, and nothing from outside may come into one that is read-only all the way."""
    options = _options(mount, "BindOptions") if "BindOptions" in mount else {}
    for depth, name in (("writable", "ReadOnlyNonRecursive"), ("readonly", "ReadOnlyForceRecursive")):
        needed = "" if mount.get("ReadOnly") else "readonly"
        if depth == "readonly" and not needed and options.get("Propagation") != "rprivate":
            needed = "bind-propagation=rprivate"
        if options.get(name) and needed:
            raise ValueError(f"option 'bind-recursive={depth}' requires '{needed}' to be specified in conjunction")
