"""`network create` -> the body that it sends. Pure; errors are ValueErrors with docker's message."""

from hostvm.cli.arguments import Arguments
from hostvm.cli.request.environment import as_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    Body = dict[str, object]


def plan_network(arguments: Arguments) -> "Body":
    """The body of `POST /networks/create`."""
    body: Body = {
        "Name": arguments.positional[0],
        "Driver": arguments.text("driver"),
        "Options": as_map(arguments.texts("opt")),
        "Labels": as_map(arguments.texts("label")),
        "IPAM": {
            "Driver": arguments.text("ipam-driver"),
            "Options": as_map(arguments.texts("ipam-opt")),
            "Config": plan_ranges(arguments),
        },
        "CheckDuplicate": True,
    }
    for flag, key in (
        ("internal", "Internal"), ("attachable", "Attachable"), ("ipv6", "EnableIPv6"), ("config-only", "ConfigOnly"),
        ("ingress", "Ingress"),
    ):  # fmt: skip
        if arguments.given(flag):
            body[key] = arguments.flag(flag)
    if arguments.text("scope"):
        body["Scope"] = arguments.text("scope")
    if arguments.text("config-from"):
        body["ConfigFrom"] = {"Network": arguments.text("config-from")}
    return body


def plan_ranges(arguments: Arguments) -> "list[Body]":
    """Each subnet with the gateway, range and auxiliary addresses that lie in it."""
    subnets = split(arguments.texts("subnet"))
    gateways, ranges = split(arguments.texts("gateway")), split(arguments.texts("ip-range"))
    reserved = [pair.partition("=")[::2] for pair in arguments.texts("aux-address")]
    if len(ranges) > len(subnets) or len(gateways) > len(subnets):
        raise ValueError("every ip-range or gateway must have a corresponding subnet")
    networks = [_parse_subnet(subnet) for subnet in subnets]
    for position, one in enumerate(networks):
        if any(one.version == other.version and one.overlaps(other) for other in networks[:position]):
            raise ValueError("multiple overlapping subnet configuration is not supported")
    found: dict[str, Body] = {subnet: {"Subnet": subnet} for subnet in subnets}
    for text in ranges:
        _place(found, text, "range", "IPRange")
    for text in gateways:
        _place(found, text, "gateway", "Gateway")
    for name, text in reserved:
        subnet = _find_subnet(found, text)
        if subnet is None:
            raise ValueError(f"no matching subnet for aux-address {text}")
        found[subnet].setdefault("AuxiliaryAddresses", {})[name] = text  # type: ignore[index]
    return list(found.values())


def split(texts: list[str]) -> list[str]:
    """docker's slices: several in one flag, with commas."""
    return [part for text in texts for part in text.split(",")]


def _place(found: "dict[str, Body]", text: str, what: str, key: str) -> None:
    subnet = _find_subnet(found, text)
    if subnet is None:
        raise ValueError(f"no matching subnet for {what} {text}")
    if key in found[subnet]:
        raise ValueError(
            f"cannot configure multiple {what}s ({text}, {found[subnet][key]}) on the same subnet ({subnet})"
        )
    found[subnet][key] = text


def _find_subnet(found: "dict[str, Body]", text: str) -> str | None:
    from ipaddress import ip_address

    try:
        address = ip_address(text.partition("/")[0])
    except ValueError:
        raise ValueError(f"invalid address: {text}") from None
    return next((subnet for subnet in found if address in _parse_subnet(subnet)), None)


if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network


def _parse_subnet(text: str) -> "IPv4Network | IPv6Network":
    from ipaddress import ip_network

    try:
        if "/" not in text:
            raise ValueError
        return ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"invalid CIDR address: {text}") from None
