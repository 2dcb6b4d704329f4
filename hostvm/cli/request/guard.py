"""--security-opt, devices and their limits, and other flags that few people give."""

from hostvm.cli.arguments import Arguments
from hostvm.cli.request.environment import as_map

_PERMISSIONS = frozenset("rwm")


#: Flag -> key of HostConfig, where the values go as they are.
_LISTS = (
    ("device-cgroup-rule", "DeviceCgroupRules"), ("blkio-weight-device", "BlkioWeightDevice"),
    ("device-read-bps", "BlkioDeviceReadBps"), ("device-write-bps", "BlkioDeviceWriteBps"),
    ("device-read-iops", "BlkioDeviceReadIOps"), ("device-write-iops", "BlkioDeviceWriteIOps"),
)  # fmt: skip


def add_guarded(arguments: Arguments, host: dict[str, object]) -> None:
    """Contributes to HostConfig. Raises ValueError with docker's message."""
    host |= {key: arguments.many(flag) for flag, key in _LISTS if arguments.given(flag)}
    _add_security(arguments.texts("security-opt"), host)
    names = arguments.texts("device")
    host["Devices"] = [parse_device(text) for text in names if not _is_qualified(text)]
    requests = [*arguments.many("gpus"), *_device_requests([text for text in names if _is_qualified(text)])]
    if requests:
        host["DeviceRequests"] = requests
    if arguments.given("storage-opt"):
        host["StorageOpt"] = _storage_options(arguments.texts("storage-opt"))
    if arguments.given("annotation"):
        host["Annotations"] = as_map(arguments.texts("annotation"))


def _add_security(texts: list[str], host: dict[str, object]) -> None:
    """`systempaths=unconfined` is no option of the engine's: it means that no path is hidden."""
    options = [parse_security_option(text) for text in texts]
    if "systempaths=unconfined" in options:
        host |= {"MaskedPaths": [], "ReadonlyPaths": []}
    host["SecurityOpt"] = [option for option in options if option != "systempaths=unconfined"] or None


def _is_qualified(name: str) -> bool:
    """A CDI name, `vendor.com/class=device`, and no path."""
    kind, found, device = name.partition("=")
    vendor, slash, sort = kind.partition("/")
    return bool(found and device and vendor and slash and sort)


def _device_requests(names: list[str]) -> list[object]:
    return [{"Driver": "cdi", "DeviceIDs": names}] if names else []


def _storage_options(texts: list[str]) -> dict[str, str]:
    if not all("=" in text for text in texts):
        raise ValueError("invalid storage option")
    return as_map(texts)


def parse_security_option(text: str) -> str:
    """Checked; a seccomp profile's file is replaced by its text (docker's parseSecurityOpts). Raises ValueError."""
    if text in ("no-new-privileges", "writable-cgroups"):
        return text
    key, found, value = text.partition("=" if "=" in text else ":")
    if not found:
        raise ValueError(f'Invalid --security-opt: "{text}"')
    if key == "seccomp" and value not in ("unconfined", "builtin"):
        return f"seccomp={_profile(value)}"
    return text


def _profile(path: str) -> str:
    import json

    try:
        with open(path, encoding="utf-8") as file:
            return json.dumps(json.load(file), separators=(",", ":"))
    except OSError as error:
        reason = f"open {path}: {(error.strerror or '').lower()}"
        raise ValueError(f"opening seccomp profile ({path}) failed: {reason}") from error
    except ValueError as error:
        raise ValueError(f"compacting json for seccomp profile ({path}) failed: {error}") from error


def parse_device(text: str) -> dict[str, str]:
    """`/dev/host[:/dev/inside][:rwm]`. Raises ValueError."""
    host, *rest = text.split(":")
    if not text or len(rest) > 2:
        raise ValueError(f"bad format for path: {text}")
    inside, permissions = host, "rwm"
    if rest and _is_permissions(rest[-1]):
        permissions = rest.pop()
    elif len(rest) == 2:
        raise ValueError(f"bad mode specified: {rest[-1]}")
    if rest:
        inside = rest[0]
    for path in (host, inside):
        if not path.startswith("/"):
            raise ValueError(f"{path} is not an absolute path")
    return {"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": permissions}


def _is_permissions(text: str) -> bool:
    return bool(text) and set(text) <= _PERMISSIONS and len(set(text)) == len(text)
