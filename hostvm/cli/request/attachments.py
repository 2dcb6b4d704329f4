"""What `--network` and its like say of a container's place in a network -> Docker's EndpointSettings. Pure.

Errors are ValueErrors with docker's message.
"""

from hostvm.cli.arguments import Arguments
from hostvm.cli.request.environment import as_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    Body = dict[str, object]

PREDEFINED = ("default", "bridge", "host", "none")
#: Key of `--network name=...` -> the flag that says the same for the first network, and what it is called in errors.
_KEYS = {
    "alias": ("network-alias", "alias"),
    "ip": ("ip", "IPv4 address"),
    "ip6": ("ip6", "IPv6 address"),
    "mac-address": ("mac-address", "MAC address"),
    "link-local-ip": ("link-local-ip", "link-local IP addresses"),
}
_LISTS = ("alias", "link-local-ip", "driver-opt")


def plan_endpoints(arguments: Arguments) -> "tuple[str, dict[str, Body]]":
    """The network mode, and each network's EndpointSettings where there is something to say."""
    given = arguments.many("network") + arguments.many("net")
    attachments = [dict(one) for one in given if isinstance(one, dict)] or [{"name": "default"}]
    _apply_flags(arguments, attachments[0])
    endpoints: dict[str, Body] = {}
    for attachment in attachments:
        name = str(attachment["name"])
        if name in endpoints:
            raise ValueError(f'network "{name}" is specified multiple times')
        endpoints[name] = _plan_endpoint(attachment)
    named = [name not in PREDEFINED and not name.startswith("container:") for name in endpoints]
    if any(named) and not all(named):
        raise ValueError("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    if len(endpoints) == 1:
        endpoints = {name: endpoint for name, endpoint in endpoints.items() if endpoint}
    return str(attachments[0]["name"]), endpoints


def parse_attachment(text: str) -> "Body":
    """`NETWORK`, or `name=NETWORK,alias=A,ip=...`: key -> value, a list for those that may come more than once."""
    if "=" not in text:
        return {"name": text}
    attachment: Body = {}
    for field in text.split(","):
        key, found, value = field.lower().partition("=")
        key, value = key.strip(), value.strip()
        if not found or not key:
            raise ValueError(f"invalid field {field}")
        if key in _LISTS:
            attachment.setdefault(key, []).append(value)  # type: ignore[attr-defined]
        elif key == "name" or key in _KEYS:
            attachment[key] = value
        else:
            raise ValueError(f"invalid field key {key}")
    if not attachment.get("name"):
        raise ValueError("network name/id is not specified")
    return attachment


def _apply_flags(arguments: Arguments, first: "Body") -> None:
    """--ip and its like are about the first network."""
    for key, (flag, called) in _KEYS.items():
        if not arguments.given(flag):
            continue
        if key in first:
            raise ValueError(f"conflicting options: cannot specify both --{flag} and per-network {called}")
        first[key] = arguments.texts(flag) if key in _LISTS else arguments.text(flag)
    if arguments.given("link") and first["name"] not in PREDEFINED:
        first["link"] = arguments.texts("link")


def _plan_endpoint(attachment: "Body") -> "Body":
    endpoint: Body = {}
    for key, name in (("alias", "Aliases"), ("link", "Links"), ("mac-address", "MacAddress")):
        if key in attachment:
            endpoint[name] = attachment[key]
    ipam = {
        name: attachment[key]
        for key, name in (("ip", "IPv4Address"), ("ip6", "IPv6Address"), ("link-local-ip", "LinkLocalIPs"))
        if key in attachment
    }
    if ipam:
        endpoint["IPAMConfig"] = ipam
    if "driver-opt" in attachment:
        options = attachment["driver-opt"]
        endpoint["DriverOpts"] = as_map([str(one) for one in options] if isinstance(options, list) else [])
    return endpoint


def plan_connect(arguments: Arguments) -> "Body":
    """The body of `POST /networks/NAME/connect`."""
    attachment: Body = {}
    for key in ("alias", "link", "link-local-ip", "driver-opt"):
        if arguments.given(key):
            attachment[key] = [part for text in arguments.texts(key) for part in text.split(",")]
    for key in ("ip", "ip6"):
        if arguments.given(key):
            attachment[key] = arguments.text(key)
    return {"Container": arguments.positional[1], "EndpointConfig": _plan_endpoint(attachment)}
