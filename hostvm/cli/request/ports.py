"""-p and --expose: `[[address]:[host port]:]port[/protocol]`, a port being one or a range (docker's nat)."""

from hostvm.cli.request.kinds import is_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    Range = tuple[int, int]

_PROTOCOLS = ("tcp", "udp", "sctp")


class PortPlan:
    """What -p adds up to: ExposedPorts and HostConfig.PortBindings."""

    __slots__ = ("bindings", "exposed")

    def __init__(self) -> None:
        self.exposed: dict[str, dict[str, str]] = {}
        self.bindings: dict[str, list[dict[str, str]]] = {}

    def publish(self, text: str) -> None:
        """Adds one -p. Raises ValueError."""
        address, host, container = split_publish(text)
        ports, _, protocol = container.partition("/")
        protocol = (protocol or "tcp").lower()
        if protocol not in _PROTOCOLS:
            raise ValueError(f"invalid proto: {protocol}")
        if not ports:
            raise ValueError(f"no port specified: {text}<empty>")
        inside = _parse_range(ports, f"invalid containerPort: {ports}")
        outside = _parse_range(host, f"invalid hostPort: {host}") if host else None
        if outside and _count(inside) != _count(outside) and _count(inside) != 1:
            raise ValueError(f"invalid ranges specified for container and host Ports: {ports} and {host}")
        for number in range(inside[0], inside[1] + 1):
            self._bind(f"{number}/{protocol}", address, _host_port(outside, inside, number))

    def _bind(self, key: str, address: str, host_port: str) -> None:
        self.exposed[key] = {}
        self.bindings.setdefault(key, []).append({"HostIp": address, "HostPort": host_port})

    def expose(self, text: str) -> None:
        """Adds one --expose. Raises ValueError."""
        if ":" in text:
            raise ValueError(f"invalid port format for --expose: {text}")
        ports, _, protocol = text.partition("/")
        first, last = _parse_range(ports, f"invalid range format for --expose: {text}, error: {_blame(ports)}")
        for number in range(first, last + 1):
            self.exposed[f"{number}/{(protocol or 'tcp').lower()}"] = {}


def _blame(ports: str) -> str:
    """Why Go's nat.ParsePortRange refuses it."""
    first, found, last = ports.partition("-")
    if found and first.isdigit() and last.isdigit():
        return f"invalid range specified for port: {ports}"
    return f'strconv.ParseUint: parsing "{ports}": invalid syntax'


def split_publish(text: str) -> tuple[str, str, str]:
    """(address, host ports, container ports with protocol). Raises ValueError."""
    if text.startswith("["):
        address, found, rest = text[1:].partition("]:")
        if not found:
            raise ValueError(f"invalid IP address: {text}")
    else:
        *front, host, container = ["", "", *text.split(":")]
        address, rest = ":".join(part for part in front if part), f"{host}:{container}"
    if address and not is_address(address):
        raise ValueError(f"invalid IP address: {address}")
    host, _, container = rest.rpartition(":")
    return address, host, container


def _parse_range(text: str, reason: str) -> "Range":
    first, found, last = text.partition("-")
    if not found:
        last = first
    if not (first.isdigit() and last.isdigit() and text.isascii()):
        raise ValueError(reason)
    low, high = int(first), int(last)
    if low > high or high > 65535:
        raise ValueError(reason)
    return low, high


def _count(ports: "Range") -> int:
    return ports[1] - ports[0] + 1


def _host_port(outside: "Range | None", inside: "Range", number: int) -> str:
    """The host's port for a container's: its partner in a range as long, or the whole range to choose from."""
    if outside is None:
        return ""
    if _count(inside) == _count(outside):
        return str(outside[0] + number - inside[0])
    return f"{outside[0]}-{outside[1]}"
