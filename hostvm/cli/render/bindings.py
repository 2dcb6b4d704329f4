"""The lines of `port`: `80/tcp -> 0.0.0.0:8080`."""

from hostvm.cli.render.ports import host_port


def port_lines(ports: dict[str, object], wanted: str) -> list[str]:
    """The published ports of `NetworkSettings.Ports`; with `wanted` ("80", "80/tcp") only the addresses of that one."""
    if wanted:
        key = wanted if "/" in wanted else f"{wanted}/tcp"
        return _addresses(ports.get(key))
    lines = [
        (_order(key), f"{key} -> {address}") for key, bindings in ports.items() for address in _addresses(bindings)
    ]
    return [line for _, line in sorted(lines, key=lambda pair: pair[0])]


def _order(key: str) -> tuple[int, str]:
    number, _, protocol = key.partition("/")
    return int(number) if number.isdigit() else 0, protocol


def _addresses(bindings: object) -> list[str]:
    if not isinstance(bindings, list):
        return []
    return [host_port(str(binding.get("HostIp") or "0.0.0.0"), binding.get("HostPort")) for binding in bindings]
