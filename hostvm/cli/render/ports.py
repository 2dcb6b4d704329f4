"""The PORTS column: `0.0.0.0:8080->80/tcp, 3306/tcp`, neighbours joined to ranges, as docker's."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Port = dict[str, object]


def display_ports(ports: "Iterable[Port]") -> str:
    """The ports of a record of `GET /containers/json` (formatter.DisplayablePorts)."""
    ordered = sorted(ports, key=_order)
    groups: dict[tuple[str, str], list[list[int]]] = {}
    lines = []
    singles = []
    for port in ordered:
        private, public, address, protocol = _fields(port)
        if address and public != private:
            singles.append(f"{host_port(address, public)}->{private}/{protocol}")
            continue
        _extend(groups.setdefault((address, protocol), []), private)
    for (address, protocol), ranges in groups.items():
        lines += [_range(address, protocol, first, last) for first, last in ranges]
    return ", ".join(lines + singles)


def _fields(port: "Port") -> tuple[int, int, str, str]:
    private, public = port.get("PrivatePort"), port.get("PublicPort")
    return (
        private if isinstance(private, int) else 0,
        public if isinstance(public, int) else 0,
        str(port.get("IP") or ""),
        str(port.get("Type") or "tcp"),
    )


def _order(port: "Port") -> tuple[int, str, int, str]:
    private, public, address, protocol = _fields(port)
    return private, address, public, protocol


def _extend(ranges: list[list[int]], port: int) -> None:
    if ranges and ranges[-1][1] == port - 1:
        ranges[-1][1] = port
    elif not ranges or ranges[-1][1] != port:
        ranges.append([port, port])


def _range(address: str, protocol: str, first: int, last: int) -> str:
    text = str(first) if first == last else f"{first}-{last}"
    if address:
        return f"{host_port(address, text)}->{text}/{protocol}"
    return f"{text}/{protocol}"


def host_port(address: str, port: object) -> str:
    """Go's net.JoinHostPort."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
