"""Docker's JSON of networks, and of a container's place in them, to frozen values."""

from __future__ import annotations

import dataclasses
import re
from ipaddress import IPv6Address, ip_address

from guest_agent.api.fields import Fields
from guest_agent.wire.errors import InvalidArgument
from guest_agent.wire.networks import AddressRange, EndpointSettings, Network, list_complaints

_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}")


def parse_network(body: Fields) -> Network:
    """`POST /networks/create`; id and time are the engine's to give."""
    ipam = body.part("IPAM")
    return Network(
        id="",
        name=body.text("Name"),
        driver=body.text("Driver") or "bridge",
        created_ns=0,
        ranges=tuple(parse_range(one) for one in ipam.parts("Config")),
        internal=body.flag("Internal"),
        attachable=body.flag("Attachable"),
        ipv6=body.flag("EnableIPv6"),
        options=body.text_map("Options"),
        labels=body.text_map("Labels"),
        ipam_driver=ipam.text("Driver") or "default",
        ipam_options=ipam.text_map("Options") if "Options" in ipam else None,
        config_only=body.flag("ConfigOnly"),
        config_from=body.part("ConfigFrom").text("Network"),
    )


def parse_range(body: Fields) -> AddressRange:
    return AddressRange(
        body.text("Subnet"), body.text("Gateway"), body.text("IPRange"), body.text_map("AuxiliaryAddresses")
    )


def parse_endpoint(network: str, body: Fields) -> EndpointSettings:
    """`EndpointSettings`; addresses are checked as such, whether the network has them is the engine's to say."""
    ipam = body.part("IPAMConfig")
    settings = EndpointSettings(
        network=network,
        aliases=body.texts("Aliases") or (),
        links=body.texts("Links") or (),
        address=ipam.text("IPv4Address"),
        address6=ipam.text("IPv6Address"),
        link_local=ipam.texts("LinkLocalIPs") or (),
        mac_address=parse_mac(body.text("MacAddress")),
        options=body.text_map("DriverOpts"),
    )
    _check_addresses(settings)
    return settings


def _check_addresses(settings: EndpointSettings) -> None:
    errors = [
        *([f"invalid IPv4 address: {settings.address}"] if not _is_address(settings.address, (4,)) else []),
        *([f"invalid IPv6 address: {settings.address6}"] if not _is_address(settings.address6, (6,)) else []),
        *(f"invalid link-local IP address: {one}" for one in settings.link_local if not _is_address(one, (4, 6))),
    ]
    if errors:
        raise InvalidArgument(list_complaints(errors))


def _is_address(text: str, versions: tuple[int, ...]) -> bool:
    """ "" is none, and that is fine."""
    if not text:
        return True
    try:
        address = ip_address(text)
    except ValueError:
        return False
    mapped = isinstance(address, IPv6Address) and address.ipv4_mapped is not None
    return address.version in versions and not address.is_unspecified and not mapped


def parse_mac(text: str) -> str:
    """As the kernel writes it; "" is none."""
    if text and not _MAC.fullmatch(text):
        raise InvalidArgument(f"invalid MAC address {text}")
    return text.lower().replace("-", ":")


def parse_endpoints(body: Fields, mode: str) -> tuple[EndpointSettings, ...]:
    """`NetworkingConfig` of a create, in the order of the JSON.

    `MacAddress` beside it, which was the way before API 1.44, is for the network of the mode.
    """
    networks = body.part("NetworkingConfig").part("EndpointsConfig")
    endpoints = [parse_endpoint(name, networks.part(name)) for name in networks.names]
    mac = parse_mac(body.text("MacAddress"))
    if mac and not any(one.mac_address for one in endpoints if one.network == mode):
        known = next((one for one in endpoints if one.network == mode), EndpointSettings(mode))
        rest = [one for one in endpoints if one.network != mode]
        endpoints = [dataclasses.replace(known, mac_address=mac), *rest]
    return tuple(endpoints)
