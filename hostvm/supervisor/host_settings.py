"""What the guest is told of the host at its begin: registries, search domains, time, randomness."""

from __future__ import annotations

import os
import time
import tomllib

from hostvm.supervisor.journal import say


def plan_begin(hostname: str, disk_size: int, registries: dict[str, object], search: list[str]) -> dict[str, object]:
    """The request's fields. Machines that come from one template share its random state until they get their own."""
    return {
        "time_ns": time.time_ns(), "disk": True, "disk_size": disk_size, "config": {"registries": registries},
        "search": search, "hostname": hostname, "shares": True, "entropy": os.urandom(64).hex(),
    }  # fmt: skip


def read_registries(config: str) -> dict[str, object]:
    """The [registries] section of the host's config.toml; {} where there is none."""
    try:
        with open(config, "rb") as file:
            section = tomllib.load(file).get("registries", {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        say(f"can't read the configuration {config}: {error}")
        return {}
    return section if isinstance(section, dict) else {}


def read_search(path: str = "/etc/resolv.conf") -> list[str]:
    """The host's search domains; the name server itself is asked through slirp."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file]
    except OSError:
        return []
    found = [words[1:] for words in lines if words[:1] in (["search"], ["domain"])]
    return found[-1] if found else []
