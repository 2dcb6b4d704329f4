"""What the guest is told of the host at its begin: its configuration, search domains, time, randomness."""

from __future__ import annotations

import os
import time
import tomllib

from guest_agent.wire.errors import InvalidArgument

#: What a supervisor that was started with these hands on to its engine: for tests of what happens when it dies.
_HANDED_ON = ("HOSTVM_FAILPOINTS",)


def plan_begin(hostname: str, disk_size: int, config: dict[str, object], search: list[str]) -> dict[str, object]:
    """The request's fields. Machines that come from one template share its random state until they get their own."""
    return {
        "time_ns": time.time_ns(), "disk": True, "disk_size": disk_size, "config": config,
        "search": search, "hostname": hostname, "shares": True, "entropy": os.urandom(64).hex(),
        "environment": {name: os.environ[name] for name in _HANDED_ON if name in os.environ},
    }  # fmt: skip


def read_config(path: str) -> dict[str, object]:
    """The host's config.toml, for the engine to check; {} where there is none. Raises InvalidArgument."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"can't read the configuration {path}: {error}") from error


def read_search(path: str = "/etc/resolv.conf") -> list[str]:
    """The host's search domains; the name server itself is asked through slirp."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file]
    except OSError:
        return []
    found = [words[1:] for words in lines if words[:1] in (["search"], ["domain"])]
    return found[-1] if found else []
