"""The engine's configuration file (default /etc/hostvm/config.toml); a missing one means defaults.

[engine]
bridge = "hostvm0"              # the default network's bridge; the firewall table has the same name
subnet = ""                     # "" = the first free one of the engine's pool
group = "hostvm"                # members may use the socket; ignored where the group doesn't exist
[logs]                          # of containers that don't say; as dockerd's log-driver and log-opts
driver = "json-file"
options = { max-size = "10m", max-file = "3" }
[registries]
insecure = ["registry.local:5000", "10.1.0.0/16"]   # hosts, or networks
[registries.mirrors]
"docker.io" = ["https://mirror.local"]
[machine]                       # written by the machine's init; "" = the engine runs on the host itself
channel = "/run/hostvm/host.sock"  # the agent's socket: services of the machine's host
files = "/run/hostvm/files"     # where the host's shared folders are
host_address = "10.0.2.2"       # the way to the host's loopback
name = "vm"                     # as the host calls it
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field

from guest_agent.wire.errors import InvalidArgument

#: `bootstrap` is read by the command of that name, on the host's side.
_SECTIONS = {"engine", "logs", "registries", "machine", "bootstrap"}


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """What the engine must know of the machine that it runs in; all empty on the host itself."""

    channel: str = ""
    files: str = ""
    host_address: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What can be set; every default explicit."""

    bridge: str = "hostvm0"
    subnet: str = ""
    group: str = "hostvm"
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    machine: MachineConfig = MachineConfig()
    log_driver: str = "json-file"
    log_options: dict[str, str] = field(default_factory=dict)


def load_config(path: str) -> EngineConfig:
    """Read the file. Raises InvalidArgument with the file's name and what is wrong in it."""
    try:
        with open(path, "rb") as file:
            return parse_config(tomllib.load(file), path)
    except FileNotFoundError:
        return EngineConfig()
    except (OSError, ValueError) as error:  # TOMLDecodeError, and UnicodeDecodeError for what isn't UTF-8
        raise InvalidArgument(f"can't read the configuration {path}: {error}") from error


def parse_config(document: dict[str, object], path: str = "config.toml") -> EngineConfig:
    """Pure. Unknown keys are an error: a misspelt one would silently do nothing."""
    unknown = sorted(set(document) - _SECTIONS)
    if unknown:
        raise InvalidArgument(f"{path}: there is no section {unknown[0]!r}", f"known: {', '.join(sorted(_SECTIONS))}")
    engine = _table(document, "engine", path)
    registries = _table(document, "registries", path)
    _refuse_unknown(engine, {"bridge", "subnet", "group"}, "engine", path)
    machine = _table(document, "machine", path)
    _refuse_unknown(registries, {"insecure", "mirrors"}, "registries", path)
    _refuse_unknown(machine, {"channel", "files", "host_address", "name"}, "machine", path)
    mirrors = _table(registries, "mirrors", path)
    logs = _table(document, "logs", path)
    _refuse_unknown(logs, {"driver", "options"}, "logs", path)
    log_options = _table(logs, "options", path)
    return EngineConfig(
        bridge=_text(engine, "bridge", "hostvm0", path),
        subnet=_text(engine, "subnet", "", path),
        group=_text(engine, "group", "hostvm", path),
        insecure_registries=_texts(registries, "insecure", path),
        registry_mirrors={name: _texts(mirrors, name, path) for name in mirrors},
        machine=MachineConfig(
            channel=_text(machine, "channel", "", path),
            files=_text(machine, "files", "", path),
            host_address=_text(machine, "host_address", "", path),
            name=_text(machine, "name", "", path),
        ),
        log_driver=_text(logs, "driver", "json-file", path),
        log_options={name: _text(log_options, name, "", path) for name in log_options},
    )


def _table(document: dict[str, object], name: str, path: str) -> dict[str, object]:
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise InvalidArgument(f"{path}: [{name}] must be a table")
    return table


def _text(table: dict[str, object], key: str, default: str, path: str) -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        raise InvalidArgument(f"{path}: {key} must be a string")
    return value


def _texts(table: dict[str, object], key: str, path: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidArgument(f"{path}: {key} must be a list of strings")
    return tuple(value)


def _refuse_unknown(table: dict[str, object], known: set[str], name: str, path: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise InvalidArgument(f"{path}: [{name}] has no setting {unknown[0]!r}", f"known: {', '.join(sorted(known))}")
