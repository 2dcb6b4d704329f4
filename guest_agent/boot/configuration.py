"""What `begin` brings along, as the engine's configuration file. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from guest_agent.boot.system import GATEWAY

CHANNEL, FILES = "/run/hostvm/host.sock", "/run/hostvm/files"


#: The sections of the host's own file that count for the engine.
_SECTIONS = ("engine", "logs", "registries")


def plan_config(name: str, host: Mapping[str, object]) -> str:
    """config.toml of an engine that lives in the machine `name`; `host` is what the host's own file says."""
    machine = {"channel": CHANNEL, "files": FILES, "host_address": str(GATEWAY), "name": name}
    lines = _section("machine", machine)
    for name in _SECTIONS:
        section = host.get(name)
        if isinstance(section, dict):
            lines += _section(name, section)
    return "\n".join(lines) + "\n"


def _section(name: str, section: Mapping[str, object]) -> list[str]:
    """A table's own settings first, then the tables in it."""
    plain = {key: value for key, value in section.items() if not isinstance(value, dict)}
    lines = [f"[{name}]", *_settings(plain)]
    for key, value in section.items():
        if isinstance(value, dict):
            lines += _section(f"{name}.{_text(key)}", value)
    return lines


def _settings(table: Mapping[str, object]) -> list[str]:
    return [f"{_text(key)} = {_text(value)}" for key, value in table.items()]


def _text(value: object) -> str:
    """A JSON string or list of strings is one of TOML as well, where non-ASCII characters stand for themselves."""
    return json.dumps(value, ensure_ascii=False)
