"""Capabilities and --security-opt: what docker gives, and what is given up (moby, daemon/pkg/oci/caps)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from guest_agent.linux.capabilities import NAMES
from guest_agent.wire.errors import InvalidArgument, Unsupported
from guest_agent.wire.go_numbers import parse_truth

_DEFAULT = """
CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL
AUDIT_WRITE
"""
DEFAULT_CAPABILITIES = tuple(f"CAP_{name}" for name in _DEFAULT.split())
_ALL = "ALL"


@dataclass(frozen=True, slots=True)
class SecurityOptions:
    """--security-opt, parsed. `seccomp` is "" (default), "unconfined" or the JSON text of a profile."""

    no_new_privileges: bool = False
    seccomp: str = ""
    apparmor: str = ""


def plan_capabilities(
    add: Sequence[str], drop: Sequence[str], available: Sequence[str], *, privileged: bool = False
) -> tuple[str, ...]:
    """docker's order of rules: ALL added minus the dropped; ALL dropped plus the added; else defaults -drop +add.

    `available` is this process's bounding set. InvalidArgument for an unknown name; Unsupported where a capability is
    asked for by name that can't be given here. The defaults and ALL are cut to what is there.
    """
    if privileged:
        return tuple(available)
    adds, drops = _normalized("CapAdd", add), _normalized("CapDrop", drop)
    _require([name for name in adds if name != _ALL], available)
    if _ALL in adds:
        wanted: Iterable[str] = (name for name in available if name not in drops)
    elif _ALL in drops:
        wanted = adds
    else:
        wanted = [*(name for name in DEFAULT_CAPABILITIES if name not in drops), *adds]
    return tuple(dict.fromkeys(name for name in wanted if name in available))


def parse_security_options(options: Sequence[str]) -> SecurityOptions:
    """InvalidArgument for one that docker doesn't know either. SELinux labels mean nothing here and are let pass."""
    values: dict[str, str] = {}
    for option in options:
        name, found, value = option.partition("=" if "=" in option else ":")
        if not found and option not in ("no-new-privileges", "disable"):
            raise InvalidArgument(f'invalid --security-opt 1: "{option}"')
        if name not in ("no-new-privileges", "seccomp", "apparmor", "label", "disable"):
            raise InvalidArgument(f'invalid --security-opt 2: "{option}"')
        values[name] = value if found else "true"
    return SecurityOptions(
        _flag(values.get("no-new-privileges", "false")),
        values.get("seccomp", "").removeprefix("builtin"),
        values.get("apparmor", "").removeprefix("unconfined"),
    )


def _flag(text: str) -> bool:
    try:
        return parse_truth(text)
    except InvalidArgument:
        raise InvalidArgument(f'invalid --security-opt 2: "no-new-privileges={text}"') from None


def _normalized(flag: str, names: Sequence[str]) -> list[str]:
    result = []
    for given in names:
        name = given.upper()
        if name != _ALL and not name.startswith("CAP_"):
            name = f"CAP_{name}"
        if name != _ALL and name not in NAMES:
            raise InvalidArgument(f'invalid {flag}: unknown capability: "{name}"', "names are those of capabilities(7)")
        result.append(name)
    return result


def _require(names: Sequence[str], available: Sequence[str]) -> None:
    for name in names:
        if name not in available:
            raise Unsupported(
                "invalid CapAdd: capability not supported by your kernel or not available in the current environment: "
                f'"{name}"'
            )
