"""What `begin` brings along, as the engine's configuration file. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from guest_agent.boot.system import GATEWAY

CHANNEL, FILES = "/run/hostvm/host.sock", "/run/hostvm/files"


def plan_config(registries: Mapping[str, object]) -> str:
    """config.toml of an engine that lives in a machine; `registries` is the section of the host's own file."""
    machine = {"channel": CHANNEL, "files": FILES, "host_address": str(GATEWAY)}
    lines = ["[machine]", *_settings(machine)]
    plain = {key: value for key, value in registries.items() if not isinstance(value, dict)}
    if plain:
        lines += ["[registries]", *_settings(plain)]
    for key, value in registries.items():
        if isinstance(value, dict):
            lines += [f"[registries.{_text(key)}]", *_settings(value)]
    return "\n".join(lines) + "\n"


def _settings(table: Mapping[str, object]) -> list[str]:
    return [f"{_text(key)} = {_text(value)}" for key, value in table.items()]


def _text(value: object) -> str:
    """A JSON string or list of strings is one of TOML as well, where non-ASCII characters stand for themselves."""
    return json.dumps(value, ensure_ascii=False)
