"""--security-opt and --device: what loosens or tightens the container's walls."""

_PERMISSIONS = frozenset("rwm")


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
    if len(rest) > 2:
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
