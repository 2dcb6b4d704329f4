"""The pages of `version` and `info`."""

from hostvm.cli.render.units import bytes_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    Record = dict[str, object]


def version_text(record: "Record") -> str:
    """Client and engine, as `docker version` lays them out; the engine's half only where it answered."""
    client, server = _object(record.get("Client")), record.get("Server")
    lines = [
        "Client: hostvm",
        _line(" Version", client.get("Version")),
        _line(" API version", client.get("ApiVersion")),
        _line(" OS/Arch", f"{client.get('Os')}/{client.get('Arch')}"),
    ]
    if isinstance(server, dict):
        lines += ["", "Server: hostvm", *_server_lines(server)]
    return "\n".join(lines) + "\n"


def _server_lines(server: "Record") -> list[str]:
    api = f"{server.get('ApiVersion')} (minimum version {server.get('MinAPIVersion')})"
    lines = [
        " Engine:",
        _line("  Version", server.get("Version")),
        _line("  API version", api),
        _line("  OS/Arch", f"{server.get('Os')}/{server.get('Arch')}"),
        _line("  Kernel", server.get("KernelVersion")),
    ]
    components = server.get("Components")
    for component in components if isinstance(components, list) else []:
        if component.get("Name") != "Engine":
            lines += [f" {component.get('Name')}:", _line("  Version", component.get("Version"))]
    return lines


def _line(name: str, value: object) -> str:
    return f"{name + ':':<19}{'' if value is None else value}"


def _object(value: object) -> "Record":
    return value if isinstance(value, dict) else {}


#: (label, key of the answer), in docker's order.
_INFO = (
    ("Server Version", "ServerVersion"), ("Storage Driver", "Driver"), ("Logging Driver", "LoggingDriver"),
    ("Cgroup Driver", "CgroupDriver"), ("Cgroup Version", "CgroupVersion"), ("Default Runtime", "DefaultRuntime"),
    ("Kernel Version", "KernelVersion"), ("Operating System", "OperatingSystem"), ("OSType", "OSType"),
    ("Architecture", "Architecture"), ("CPUs", "NCPU"), ("Total Memory", "MemTotal"), ("Name", "Name"), ("ID", "ID"),
    ("Docker Root Dir", "DockerRootDir"),
)  # fmt: skip


def info_text(record: "Record", client_version: str) -> str:
    """What `docker info` shows, as far as an engine of one host has it."""
    lines = [
        "Client: hostvm",
        f" Version:    {client_version}",
        "",
        "Server:",
        f" Containers: {record.get('Containers')}",
    ]
    lines += [f"  {state}: {record.get(f'Containers{state}')}" for state in ("Running", "Paused", "Stopped")]
    lines.append(f" Images: {record.get('Images')}")
    for label, key in _INFO:
        value = record.get(key)
        if isinstance(value, int) and key == "MemTotal":
            value = bytes_size(value)
        if value is not None:
            lines.append(f" {label}: {value}")
    options = record.get("SecurityOptions")
    if isinstance(options, list) and options:
        lines += [" Security Options:", *(f"  {str(option).removeprefix('name=')}" for option in options)]
    return "\n".join([*lines, *_registries(record)]) + "\n"


def _registries(record: "Record") -> list[str]:
    config = _object(record.get("RegistryConfig"))
    insecure = config.get("InsecureRegistryCIDRs")
    hosts = [
        name for name, index in _object(config.get("IndexConfigs")).items() if not _object(index).get("Secure", True)
    ]
    names = [*hosts, *(map(str, insecure) if isinstance(insecure, list) else [])]
    mirrors = config.get("Mirrors")
    lists = {"Insecure Registries": names, "Registry Mirrors": mirrors if isinstance(mirrors, list) else []}
    return [line for title, items in lists.items() if items for line in (f" {title}:", *(f"  {it}" for it in items))]
