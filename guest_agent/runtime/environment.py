"""The environment of a container's process by docker's rules (moby, container.CreateDaemonEnvironment)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def plan_environment(hostname: str, given: Sequence[str], *, tty: bool, home: str) -> tuple[str, ...]:
    """PATH, HOSTNAME and TERM first, what the image and the user gave over them, HOME where nobody said what it is."""
    defaults = [f"PATH={DEFAULT_PATH}"]
    if hostname:
        defaults.append(f"HOSTNAME={hostname}")
    if tty:
        defaults.append("TERM=xterm")
    merged = tuple(item for item in replace_or_append(defaults, given) if item != "HOME=")
    return merged if has_variable(merged, "HOME") else (*merged, f"HOME={home or '/'}")


def replace_or_append(defaults: Iterable[str], overrides: Iterable[str]) -> tuple[str, ...]:
    """Later wins, each variable keeps its first place; an override without "=" removes the variable."""
    merged = {item.partition("=")[0]: item for item in defaults}
    for item in overrides:
        name, equals, _ = item.partition("=")
        if equals:
            merged[name] = item
        else:
            merged.pop(name, None)
    return tuple(merged.values())


def has_variable(environment: Iterable[str], name: str) -> bool:
    return any(item.startswith(f"{name}=") for item in environment)
